import numpy as np
import pytest

from pipeline import exhaustive


def order(scores, k, last_first=False):
    """The k largest scores of each row; of equal ones the first row number, or the last."""
    if last_first:
        return scores.shape[1] - 1 - np.argsort(-scores[:, ::-1], axis=1, kind="stable")[:, :k]
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("dims", [1, 3, 17, 32])
@pytest.mark.parametrize("queries", [1, 30])
def test_float_searches_against_brute_force_with_ties(dims, queries):
    rng = np.random.default_rng(dims)
    base, asked = (rng.integers(-2, 3, (n, dims)).astype(np.float32) for n in (200, queries))
    distances = ((asked[:, None] - base[None]) ** 2).sum(axis=2)
    for k in (1, 11, 44):
        np.testing.assert_array_equal(exhaustive.euclidean(base)(asked, k), order(-distances, k))
        found = exhaustive.inner_product(base)(asked, k)
        scores = asked @ base.T  # whole numbers: exact
        np.testing.assert_array_equal(np.take_along_axis(scores, found, 1), -np.sort(-scores, axis=1)[:, :k])
        assert all(len(set(row)) == k for row in found.tolist())


@pytest.mark.parametrize("width", [1, 2, 4, 5, 8, 38])
def test_hamming_against_brute_force_and_ties_go_to_the_smaller_row(width):
    rng = np.random.default_rng(width)
    base, asked = (rng.integers(0, 4, (n, width)).astype(np.uint8) for n in (200, 30))
    distances = np.unpackbits(asked[:, None] ^ base[None], axis=2).sum(axis=2, dtype=int)
    for k in (1, 11, 44):
        np.testing.assert_array_equal(exhaustive.hamming(base)(asked, k), order(-distances, k))


def test_of_equal_rows_euclidean_puts_the_first_ahead():
    base = np.ones((20, 3), np.float32)
    np.testing.assert_array_equal(exhaustive.euclidean(base)(base[:2], 4), [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize("search", [exhaustive.inner_product, exhaustive.euclidean])
def test_fewer_rows_than_asked_for_end_in_minus_1(search):
    found = search(np.eye(3, dtype=np.float32))(np.eye(3, dtype=np.float32), 5)
    np.testing.assert_array_equal(found[:, 3:], -1)
    assert [sorted(row) for row in found[:, :3].tolist()] == [[0, 1, 2]] * 3
