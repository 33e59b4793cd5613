"""The fused passes against what they stand for: calibration, `to_spikes`, `to_integers`; bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import build
from pipeline.spikes import calibration
from pipeline.spikes.integer_code import IntegerCode
from pipeline.stage import UserError

MODULES = ["phase", "naf"]
shapes = st.tuples(st.integers(1, 5), st.integers(1, 40))
tables = shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-(2.0**99), 2.0**99, width=32)))


def rows(count, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def check(codec, x):
    found, expected = codec.encode(x), IntegerCode.encode(codec, x)
    assert found.arrays.keys() == expected.arrays.keys()
    for name in found.arrays:
        np.testing.assert_array_equal(found[name], expected[name])
    decoded, expected = codec.decode(found), IntegerCode.decode(codec, found)
    np.testing.assert_array_equal(decoded.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("module", MODULES)
@given(x=tables, steps=st.integers(2, 16))
def test_the_same_as_step_by_step(module, x, steps):
    codec = build(module, f"{module}_{steps}", 0).fit(x)
    check(codec, x)
    check(codec, x[::-1] * np.float32(1.5))  # not contiguous, and beyond the range


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("steps", [2, 7, 8, 9, 16])
def test_every_level_and_every_tie(module, steps):
    codec = build(module, f"{module}_{steps}", 0).fit(np.full((1, 1), 1, np.float32))
    codec.shared = {"zero": np.zeros(1, np.float32), "step": np.ones(1, np.float32)}
    halves = np.arange(2 * codec.lowest - 3, 2 * codec.highest + 4, dtype=np.float32) / 2
    check(codec, halves[:, None])
    codec.shared = {name: np.repeat(value, len(halves)) for name, value in codec.shared.items()}
    check(codec, halves[None])


@pytest.mark.parametrize("module", MODULES)
def test_dimensions_without_a_range_and_with_almost_none(module):
    x = np.array([[0, 1e-40, 1e-45, 1e38, -1]], np.float32)
    codec = build(module, f"{module}_8", 0).fit(x)
    check(codec, x)
    check(codec, np.full((2, 5), 1e38, np.float32))
    check(codec, np.zeros((1, 5), np.float32))


def test_one_step():
    check(build("phase", "phase_1", 0).fit(rows(9, 5)), rows(9, 5, seed=1))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(module, value):
    codec = build(module, f"{module}_8", 0).fit(rows(9, 13))
    x = rows(4, 13)
    x[2, 12] = value
    with pytest.raises(UserError, match="vector 2 holds NaN or infinity"):
        codec.encode(x)


@pytest.mark.parametrize("module", MODULES)
def test_values_beyond_the_range_are_refused_where_that_is_chosen(module):
    x = rows(9, 13)
    x[:, 5] = 0
    codec = build(module, f"{module}_8", 0)
    codec.chosen = calibration.Choice(beyond="refuse")
    codec.fit(x)
    check(codec, x)
    near = np.abs(x[:, 12]).max() * np.float32(1.001)  # whose nearest level is the last
    for dimension, value in ((12, 100), (12, -100), (5, 1e-30), (12, near), (12, -near)):
        beyond = x.copy()
        beyond[3, dimension] = value
        with pytest.raises(UserError, match=f"vector 3: value {value:g} of dimension {dimension} is outside"):
            codec.encode(beyond)


@pytest.mark.parametrize("module", MODULES)
def test_rows_that_are_not_refused_are_never_done_step_by_step(module, monkeypatch):
    codec = build(module, f"{module}_8", 0).fit(rows(9, 13))
    monkeypatch.setattr(IntegerCode, "encode", None)
    monkeypatch.setattr(IntegerCode, "decode", None)
    assert codec.decode(codec.encode(9 * rows(4, 13))).shape == (4, 13)  # nor those that are clipped


@pytest.mark.parametrize("module", MODULES)
def test_codes_of_other_dimensions_are_refused(module):
    codec = build(module, f"{module}_8", 0).fit(rows(9, 13))
    with pytest.raises(UserError, match="codes of another codec or dimension"):
        codec.decode(build(module, f"{module}_8", 0).fit(rows(9, 30)).encode(rows(2, 30)))
