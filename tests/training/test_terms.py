import numpy as np
import torch

from pipeline.training.task import alone
from pipeline.training.terms import decorrelation, similarity

DRAWN = np.random.default_rng(0)
X, Z = DRAWN.standard_normal((20, 5)), DRAWN.standard_normal((20, 7)) @ DRAWN.standard_normal((7, 7)) + 3


def test_similarity_is_the_mean_square_over_all_pairs():
    def cosines(x):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit @ unit.T

    expected = np.mean((cosines(X) - cosines(Z)) ** 2)
    found = similarity(torch.from_numpy(X), torch.from_numpy(Z), alone)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_similarity_is_none_for_a_rotation():
    rotation = np.linalg.qr(DRAWN.standard_normal((5, 5)))[0]
    assert float(similarity(torch.from_numpy(X), torch.from_numpy(3 * X @ rotation), alone)) < 1e-28


def test_the_mean_over_slices_is_the_whole():
    whole = similarity(torch.from_numpy(X), torch.from_numpy(Z), alone)

    def slices():
        for start in range(0, 20, 5):
            gathered = iter([torch.from_numpy(x) / torch.from_numpy(x).norm(dim=1, keepdim=True) for x in (X, Z)])
            mine = slice(start, start + 5)
            yield similarity(torch.from_numpy(X)[mine], torch.from_numpy(Z)[mine], lambda _, g=gathered: next(g))

    np.testing.assert_allclose(np.mean([float(one) for one in slices()]), float(whole), rtol=1e-12)


def test_decorrelation_is_the_mean_square_of_correlations():
    off = np.corrcoef(Z.T)[~np.eye(7, dtype=bool)]
    found = decorrelation(torch.from_numpy(Z), alone)
    np.testing.assert_allclose(found, np.mean(off**2), rtol=1e-5)
