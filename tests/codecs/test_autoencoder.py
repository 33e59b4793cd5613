import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.codec import NotApplicableError, shared_bytes
from pipeline.codecs import floats
from pipeline.codecs.autoencoder import build
from pipeline.evaluation.ledger import shares
from pipeline.stage import UserError
from pipeline.training import autoencoder


def curved(rows, seed=0):
    """Rows on a bent sheet: two numbers say all, but no plane holds them."""
    a, b = np.random.default_rng(seed).uniform(-1, 1, (2, rows))
    mixing = np.random.default_rng(5).standard_normal((6, 12))
    x = np.stack([a, b, a * a - 0.3, b * b - 0.3, a * b, np.sin(3 * a)], axis=1) @ mixing + 2
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def error(codec, x):
    return np.square(codec.decode(codec.encode(x)) - x, dtype=np.float64).sum()


@pytest.fixture(scope="module")
def fitted():
    return build("autoencoder_4", 3).fit(curved(1500))


def test_training_improves_on_the_principal_components_for_unseen_rows(fitted):
    unseen = curved(400, seed=1)
    assert error(fitted, unseen) < 0.5 * error(floats.build("pca_4", 0).fit(curved(1500)), unseen)


def test_before_training_it_is_the_principal_components(monkeypatch):
    monkeypatch.setattr(autoencoder, "RATE", 0.0)
    x = curved(600)
    codec = build("autoencoder_3", 0).fit(x)
    rows = x[np.random.default_rng(0).permutation(600)[60:]].astype(np.float64)  # what it is fitted on
    mean = rows.mean(axis=0)
    centred = rows - mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -3:]
    np.testing.assert_allclose(codec.decode(codec.encode(x)), mean + (x - mean) @ axes @ axes.T, atol=1e-5)


def test_numpy_decodes_as_the_trained_network_does(monkeypatch):
    made = []

    class Kept(autoencoder.Autoencoder):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(autoencoder, "Autoencoder", Kept)
    x = curved(300)
    codec = build("autoencoder_4", 0).fit(x)
    mean = x.mean(axis=0)
    scale = np.sqrt(np.square(x - mean).sum(axis=1).mean())
    with torch.no_grad():
        expected = made[0](torch.from_numpy((x - mean) / scale)).numpy() * scale + mean
    np.testing.assert_allclose(codec.decode(codec.encode(x)), expected, atol=1e-5)


def test_sizes_and_ledger(fitted):
    assert fitted.encode(curved(10)).nbytes == 10 * 16
    encoder = 4 * (12 + 12 * 4 + 4)
    decoder = 4 * (4 * 12 + 12 + 4 * 12 + 12 + 12 * 12)
    assert shared_bytes(fitted) == encoder + decoder <= 4 * 12 * (12 + 256)
    assert shares(fitted) == (encoder, decoder)


def test_the_seed_decides_and_nothing_global_does_or_is_changed(fitted):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again, other = (build("autoencoder_4", seed).fit(curved(1500)) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for name, array in fitted.shared.items():
        np.testing.assert_array_equal(array, again.shared[name])
    assert not np.array_equal(fitted.shared["decoder_hidden_weight"], other.shared["decoder_hidden_weight"])


def test_constant_few_and_large_rows():
    for x in (np.full((5, 3), 0.25, np.float32), curved(3), curved(1), curved(30) * np.float32(1e12)):
        codec = build("autoencoder_2", 0).fit(x)
        decoded = codec.decode(codec.encode(x))
        assert np.isfinite(decoded).all()
        assert np.square(decoded - x, dtype=np.float64).sum() <= np.square(x - x.mean(axis=0), dtype=np.float64).sum()


def test_as_many_values_as_dimensions_are_not_applicable():
    with pytest.raises(NotApplicableError, match="autoencoder_4 of 4 dimensions leaves nothing out"):
        build("autoencoder_4", 0).fit(np.ones((9, 4), np.float32))


def test_codes_of_another_codec_are_refused(fitted):
    foreign = floats.build("truncate_5", 0).fit(curved(5)).encode(curved(5))
    with pytest.raises(UserError, match="autoencoder_4: codes of another codec"):
        fitted.decode(foreign)


@pytest.mark.parametrize("name", ["autoencoder", "autoencoder_0", "autoencoder_04", "autoencoder_4 "])
def test_unknown_names(name):
    with pytest.raises(UserError, match="autoencoder has no codec"):
        build(name, 0)


def test_naming_it_does_not_import_torch():
    built = "from pipeline import codec; codec.build('autoencoder', 'autoencoder_64', 0)"
    code = f"{built}; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
