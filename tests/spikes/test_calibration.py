"""Which integer a value is: the nearest level of a range that the fit rows span; beyond it clipped, or refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes import calibration
from pipeline.spikes.calibration import Choice, choice, fitted, integers, outside, values
from pipeline.spikes.phase import build
from pipeline.stage import UserError

ANY = st.floats(-4, 4, width=32)
NUMBERS = st.floats(-4, 4, width=32, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-20)
TABLES = st.tuples(st.integers(1, 9), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=NUMBERS)
)
TABLES_OF_ANY = st.tuples(st.integers(1, 9), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=ANY)
)
BITS = st.integers(1, 16)


def ends(bits, signed):
    """(lowest, highest)"""
    highest = 2 ** (bits - 1) if signed else 2**bits - 1
    return -highest if signed else 0, highest


def normal(rows, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


def rounding(x):
    """What float32 may add to an error: some units in the last place of the largest value of each dimension."""
    return 5e-7 * np.abs(x).max(axis=0)


@given(TABLES, BITS, st.booleans(), st.sampled_from(calibration.PER))
def test_inside_the_range_an_error_is_at_most_half_a_step(x, bits, signed, per):
    lowest, highest = ends(bits, signed)
    shared = fitted(x, highest, signed, Choice(per))
    reach = np.abs(x).max(axis=0) if per == "dimension" else np.full(x.shape[1], np.abs(x).max())
    asked = np.concatenate([x, -x, x / 3, np.stack([reach, -reach])]).astype(np.float32)
    q = integers(asked, shared, lowest, highest)
    assert q.dtype == np.int32
    assert lowest <= q.min()
    assert q.max() <= highest
    found = values(q, shared)
    assert found.dtype == np.float32
    step = (reach if signed else 2 * reach.astype(np.float64)) / highest
    assert np.all(np.abs(found.astype(np.float64) - asked) <= step / 2 + rounding(asked))
    assert not outside(asked, shared, lowest, highest).any()


@given(TABLES, BITS, st.booleans())
def test_the_integer_is_that_of_exact_arithmetic(x, bits, signed):
    lowest, highest = ends(bits, signed)
    shared = fitted(x, highest, signed, Choice())
    q = integers(x, shared, lowest, highest)
    for (row, dimension), value in np.ndenumerate(x):
        step, zero = (Fraction(float(shared[name][dimension])) for name in ("step", "zero"))
        if step:
            exact = (Fraction(float(value)) - zero) / step
            assert abs(q[row, dimension] - exact) <= Fraction(1, 2) + Fraction(highest, 2**22)  # float32's own rounding
        else:
            assert q[row, dimension] == 0


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_every_level_is_its_own_integer(bits, signed):
    lowest, highest = ends(bits, signed)
    shared = fitted(normal(50, 40, seed=bits), highest, signed, Choice())
    q = np.arange(lowest, highest + 1, dtype=np.int32)[:, None] + np.zeros(40, np.int32)
    np.testing.assert_array_equal(integers(values(q, shared), shared, lowest, highest), q)


def test_the_range_is_the_largest_absolute_value():
    x = np.array([[0.5, -2], [-1, 1]], np.float32)
    one = fitted(x, 10, False, Choice("dimension"))
    np.testing.assert_allclose(one["zero"], [-1, -2])
    np.testing.assert_allclose(one["step"], [0.2, 0.4])
    whole = fitted(x, 10, True, Choice("table"))
    np.testing.assert_allclose(whole["zero"], [0, 0])
    np.testing.assert_allclose(whole["step"], [0.2, 0.2])
    assert {array.dtype for array in (*one.values(), *whole.values())} == {np.dtype(np.float32)}
    assert "refuses" not in one


def test_integers_by_hand():
    x = np.array([[-10], [10]], np.float32)
    unsigned, signed = fitted(x, 20, False, Choice()), fitted(x, 10, True, Choice())
    asked = np.array([[-10], [-9.6], [0], [0.4], [0.6], [10.4], [-10.4]], np.float32)
    assert integers(asked, unsigned, 0, 20)[:, 0].tolist() == [0, 0, 10, 10, 11, 20, 0]
    assert integers(asked, signed, -10, 10)[:, 0].tolist() == [-10, -10, 0, 0, 1, 10, -10]
    for shared, lowest, highest in ((unsigned, 0, 20), (signed, -10, 10)):
        assert outside(asked, shared, lowest, highest)[:, 0].tolist() == [False] * 5 + [True] * 2


@given(TABLES, st.booleans())
def test_values_beyond_the_range_are_clipped_and_counted(x, signed):
    lowest, highest = ends(8, signed)
    shared = fitted(x, highest, signed, Choice())
    reach = np.abs(x).max(axis=0)
    assume(reach.all())
    asked = np.stack([reach * 1.5, -reach * 1.5, reach / 2, np.full_like(reach, 3e38), np.full_like(reach, -3e38)])
    assert outside(asked, shared, lowest, highest).tolist() == [
        [beyond] * len(reach) for beyond in (True, True, False, True, True)
    ]
    q = integers(asked, shared, lowest, highest)
    assert (q[[0, 3]] == highest).all()
    assert (q[[1, 4]] == lowest).all()


@pytest.mark.parametrize("signed", [False, True])
def test_a_dimension_that_is_always_zero_has_nothing_but_zero_inside(signed):
    x = normal(5, 3) * np.array([1, 0, 1], np.float32)
    lowest, highest = ends(8, signed)
    shared = fitted(x, highest, signed, Choice())
    np.testing.assert_array_equal(values(integers(x, shared, lowest, highest), shared)[:, 1], 0)
    asked = x[:1] + np.array([0, 0.25, 0], np.float32)
    assert outside(asked, shared, lowest, highest).tolist() == [[False, True, False]]
    assert integers(asked, shared, lowest, highest)[0, 1] == 0
    refusing = shared | {"refuses": np.ones(1, np.uint8)}
    with pytest.raises(UserError, match=r"value 0\.25 of dimension 1 is outside of the calibrated range 0 to 0"):
        integers(asked, refusing, lowest, highest)


def test_refused_values_are_named():
    x = np.array([[0.5, -0.25], [-0.125, 0.25]], np.float32)
    for signed in (False, True):
        lowest, highest = ends(8, signed)
        shared = fitted(x, highest, signed, Choice(beyond="refuse"))
        np.testing.assert_array_equal(integers(x, shared, lowest, highest).shape, (2, 2))
        asked = np.concatenate([x, [[0, 0.26], [0.75, 0]]]).astype(np.float32)
        with pytest.raises(UserError) as error:
            integers(asked, shared, lowest, highest)
        what = "vector 2: value 0.26 of dimension 1 is outside of the calibrated range -0.25 to 0.25"
        assert str(error.value) == what
        with pytest.raises(UserError, match=r"vector 0: value 0\.75 of dimension 0 .* range -0\.5 to 0\.5"):
            integers(asked[3:], shared, lowest, highest)


@given(TABLES_OF_ANY, BITS, st.booleans(), st.sampled_from(calibration.PER))
@example(np.full((1, 1), 2.0**-149, np.float32), 16, True, "dimension")  # whose step is no float32
@example(np.full((1, 1), 1e-40, np.float32), 16, False, "dimension")  # whose step is rounded to one of few bits
def test_fit_rows_and_their_opposites_are_never_outside(x, bits, signed, per):
    lowest, highest = ends(bits, signed)
    shared = fitted(x, highest, signed, Choice(per, "refuse"))
    for rows in (x, -x):
        assert not outside(rows, shared, lowest, highest).any()
        integers(rows, shared, lowest, highest)


@given(TABLES, BITS, st.booleans())
def test_a_value_is_outside_from_a_millionth_of_the_range_on(x, bits, signed):
    lowest, highest = ends(bits, signed)
    shared = fitted(x, highest, signed, Choice())
    reach = np.abs(x.astype(np.float64)).max(axis=0)
    assume(reach.all())
    for sign in (1, -1):
        asked = (sign * reach * np.array([[1 + 3e-6], [1 + 1e-6]])).astype(np.float32)
        assert outside(asked, shared, lowest, highest).tolist() == [[True] * len(reach), [False] * len(reach)]


def test_options():
    assert choice({}) == Choice("dimension", "clip")
    assert choice({"per": "table", "beyond": "refuse"}) == Choice("table", "refuse")
    for options, message in [
        ({"per": "row"}, "spikes: per must be dimension or table, not 'row'"),
        ({"beyond": 1}, "spikes: beyond must be clip or refuse, not 1"),
        ({"range": 1}, "spikes: unknown key 'range'; known are beyond, per"),
    ]:
        with pytest.raises(UserError) as error:
            choice(options)
        assert str(error.value) == message


def test_codecs_of_a_module_are_fitted_by_the_options():
    x = normal(30, 4)
    fit = calibration.together(build)
    codecs = fit(["phase_4", "phase_8"], 3, x, {"per": "table", "beyond": "refuse"})
    assert [(name, codec.name, codec.seed) for name, codec in codecs.items()] == [
        ("phase_4", "phase_4", 3), ("phase_8", "phase_8", 3),
    ]  # fmt: skip
    np.testing.assert_allclose(codecs["phase_4"].shared["step"], 2 * np.abs(x).max() / 15)
    with pytest.raises(UserError, match=r"vector \d+: value .* is outside of the calibrated range"):
        codecs["phase_8"].encode(x * 2)
    assert fit(["phase_4"], 0, x, {})["phase_4"].encode(x * 2)
    with pytest.raises(UserError, match="unknown key 'bits'"):
        fit(["phase_4"], 0, x, {"bits": 3})
