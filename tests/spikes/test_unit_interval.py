import numpy as np
import pytest

from pipeline.spikes import unit_interval
from pipeline.spikes.calibration import Choice
from pipeline.stage import UserError

X = np.array([[1, -4, 0], [-2, 3, 0]], np.float32)


def test_the_ends_of_the_range_are_0_and_1_and_the_middle_is_0():
    shared = unit_interval.fitted(X, Choice())
    asked = np.array([[-2, -4, 0], [2, 4, 0], [0, 2, 0]], np.float32)
    u = unit_interval.fractions(asked, shared)
    assert u.tolist() == [[0, 0, 0], [1, 1, 0], [0.5, 0.75, 0]]
    assert u.dtype == np.float32
    np.testing.assert_array_equal(unit_interval.values(u, shared), asked)
    assert not unit_interval.outside(asked, shared).any()


def test_values_beyond_the_range_are_clipped_or_refused_as_chosen():
    beyond = np.array([[2, 4, 0], [2, -5, 0]], np.float32)
    clipping, refusing = (unit_interval.fitted(X, Choice(beyond=beyond)) for beyond in ("clip", "refuse"))
    assert unit_interval.fractions(beyond, clipping).tolist() == [[1, 1, 0], [1, 0, 0]]
    assert np.argwhere(unit_interval.outside(beyond, clipping)).tolist() == [[1, 1]]
    assert unit_interval.fractions(beyond[:1], refusing).tolist() == [[1, 1, 0]]
    with pytest.raises(UserError, match="vector 1: value -5 of dimension 1 is outside of the calibrated range -4 to 4"):
        unit_interval.fractions(beyond, refusing)


def test_a_dimension_that_is_always_zero_has_nothing_but_zero_inside():
    clipping, refusing = (unit_interval.fitted(X, Choice(beyond=beyond)) for beyond in ("clip", "refuse"))
    asked = np.array([[1, 1, 0], [1, 1, 5], [1, 1, -1e-30]], np.float32)
    assert unit_interval.outside(asked, clipping)[:, 2].tolist() == [False, True, True]
    assert unit_interval.fractions(asked, clipping)[:, 2].tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="vector 1: value 5 of dimension 2 is outside of the calibrated range 0 to 0"):
        unit_interval.fractions(asked, refusing)


def test_a_range_of_almost_nothing_does_not_overflow():
    shared = unit_interval.fitted(np.full((1, 1), 1e-38, np.float32), Choice())
    huge = np.array([[3e38], [-3e38]], np.float32)
    assert unit_interval.fractions(huge, shared).tolist() == [[1], [0]]
    assert unit_interval.outside(huge, shared).all()
