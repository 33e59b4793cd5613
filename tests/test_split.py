import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.split import split
from pipeline.stage import UserError


@given(st.integers(10, 5000), st.integers(0, 2**32))
def test_parts_are_sorted_disjoint_and_together_all_rows(rows, seed):
    parts = split(rows, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert (np.diff(part) > 0).all()
        assert abs(len(part) - share * rows) <= 1
        assert len(part)


def test_the_seed_decides():
    np.testing.assert_array_equal(split(1000, 3).test, split(1000, 3).test)
    assert not np.array_equal(split(1000, 3).test, split(1000, 4).test)


def test_the_test_rows_are_spread_over_the_table():
    assert 4000 < split(10_000, 0).test.mean() < 6000


def test_a_table_too_small_is_refused():
    with pytest.raises(UserError, match="9 vectors"):
        split(9, 0)
