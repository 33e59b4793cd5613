import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import exhaustive
from pipeline.evaluation.retrieval import K, neighbours, overlaps, pick_queries
from pipeline.store import unit_rows


def ranked(rows):
    """A search that answers with these rows, whatever is asked."""
    return lambda queries, k: np.array([row[:k] for row in rows])


def test_the_query_itself_is_left_out_wherever_it_stands():
    search = ranked([[5, 1, 2, 3], [1, 6, 2, 3], [1, 2, 3, 7]])
    found = neighbours(search, np.zeros((3, 1)), np.array([5, 6, 7]), k=3)
    np.testing.assert_array_equal(found, [[1, 2, 3], [1, 2, 3], [1, 2, 3]])


def test_where_the_query_is_not_among_them_the_last_is_dropped():
    found = neighbours(ranked([[1, 2, 3, 4], [4, 3, 2, 1]]), np.zeros((2, 1)), np.array([9, 2]), k=3)
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 3, 1]])


@given(st.integers(0, 99))
def test_true_neighbours_against_sorting(seed):
    unit = unit_rows(np.random.default_rng(seed).standard_normal((60, 5)).astype(np.float32))
    own = np.array([3, 17, 59])
    found = neighbours(exhaustive.inner_product(unit), unit[own], own)
    for row, near in zip(own, found, strict=True):
        cosines = unit.astype(float) @ unit[row]
        cosines[row] = -np.inf
        np.testing.assert_array_equal(near, np.argsort(-cosines)[:K])


def test_twins_do_not_push_the_query_into_its_own_neighbours():
    unit = np.ones((30, 1), np.float32)
    found = neighbours(exhaustive.inner_product(unit), unit, np.arange(30))
    assert not (found == np.arange(30)[:, None]).any()
    assert all(len(set(row)) == K for row in found.tolist())


@given(st.integers(0, 999))
def test_overlaps_against_sets(seed):
    rng = np.random.default_rng(seed)
    found, true = (np.stack([rng.permutation(25)[:10] for _ in range(4)]) for _ in range(2))
    expected = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    np.testing.assert_allclose(overlaps(found, true), expected)


def test_order_does_not_count():
    rows = np.arange(10)[None]
    assert overlaps(rows, rows[:, ::-1])[0] == 1
    assert overlaps(rows, rows + 10)[0] == 0


def test_places_that_no_row_fills_are_neither_hits_nor_misses():
    true = np.array([[4, 2, -1, -1]])
    assert overlaps(np.array([[2, 7, -1, -1]]), true)[0] == 0.5
    assert overlaps(np.array([[2, 4, -1, -1]]), true)[0] == 1


def test_a_base_of_few_rows():
    unit = unit_rows(np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32))
    found = neighbours(exhaustive.inner_product(unit), unit, np.arange(6))
    np.testing.assert_array_equal((found >= 0).sum(axis=1), 5)
    np.testing.assert_array_equal(overlaps(found, found), 1)
    other = neighbours(exhaustive.inner_product(-unit), unit, np.arange(6))
    np.testing.assert_array_equal(overlaps(other, found), 1)  # five of five, whatever their order


def test_queries_are_positions_among_the_test_rows():
    test = np.arange(100, 160)
    np.testing.assert_array_equal(pick_queries(test, 60, 0), np.arange(60))
    np.testing.assert_array_equal(pick_queries(test, 1000, 0), np.arange(60))
    picked = pick_queries(test, 20, 0)
    assert len(set(picked.tolist())) == 20
    assert np.all(np.diff(picked) > 0)
    assert picked.max() < 60
    np.testing.assert_array_equal(picked, pick_queries(test, 20, 0))
    assert set(picked) != set(pick_queries(test, 20, 1))


@pytest.mark.parametrize("count", [1, 59])
def test_queries_are_spread(count):
    means = [pick_queries(np.arange(60), count, seed).mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(29.5, abs=5)
