"""Transform codes: bits where they count, cells that fit, and an error near what the Gaussian theory allows."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Codes, NotApplicableError
from pipeline.codecs.transform import GAUSSIAN_ERRORS, MOST, allocate, build, lloyd
from pipeline.evaluation import water_filling
from pipeline.stage import UserError

SPECTRUM = 0.8 ** np.arange(24)


def correlated(count, spectrum, seed=0):
    """float32 rows whose covariance has this spectrum, turned at random, about a mean that is not zero."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))
    return ((rng.standard_normal((count, len(spectrum))) * np.sqrt(spectrum)) @ turn + 0.3).astype(np.float32)


TRAIN, TEST = correlated(6000, SPECTRUM)[:4000], correlated(6000, SPECTRUM)[4000:]


def error(codec, x):
    return float(np.mean(np.sum((codec.decode(codec.encode(x)) - x).astype(np.float64) ** 2, axis=1)))


# --- bits -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=3), st.integers(0, 8))
def test_no_other_allocation_of_as_many_bits_has_a_smaller_error(variances, bits):
    variances = np.array(variances)
    found = allocate(variances, bits)
    assert found.sum() == bits
    totals = [
        np.sum(variances * GAUSSIAN_ERRORS[list(one)])
        for one in product(range(MOST + 1), repeat=len(variances))
        if sum(one) == bits
    ]
    assert np.sum(variances * GAUSSIAN_ERRORS[found]) == pytest.approx(min(totals))


def test_a_component_has_no_more_than_its_most():
    np.testing.assert_array_equal(allocate(np.array([1e9, 1.0]), 10), [MOST, 2])


def test_bits_follow_reverse_water_filling():
    bits = 96
    level = water_filling.distortion(SPECTRUM, bits) / len(SPECTRUM)
    rates = np.maximum(0, np.log2(SPECTRUM / level) / 2)
    assert np.abs(allocate(SPECTRUM, bits) - rates).max() < 1.3


# --- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 6))
def test_the_levels_of_a_gaussian_are_max_s(bits):
    y = np.random.default_rng(bits).standard_normal(200_000)
    levels = lloyd(y, bits)
    cells = np.abs(y[:, None] - levels).argmin(axis=1)
    assert np.mean((y - levels[cells]) ** 2) == pytest.approx(GAUSSIAN_ERRORS[bits], rel=0.02)
    if bits == 2:
        np.testing.assert_allclose(levels, [-1.510, -0.4528, 0.4528, 1.510], atol=0.02)  # Max 1960, table I


def test_each_level_is_the_mean_of_its_cell():
    y = np.random.default_rng(0).laplace(size=5000)
    y /= y.std()
    levels = lloyd(y, 3)
    cells = np.abs(y[:, None] - levels).argmin(axis=1)
    np.testing.assert_allclose([y[cells == cell].mean() for cell in range(8)], levels, atol=0.02)


def test_cells_without_data_leave_the_levels_in_order():
    levels = lloyd(np.array([-1.0, 1.0]), 4)
    assert len(levels) == 16
    assert (np.diff(levels) >= 0).all()
    assert {-1.0, 1.0} <= set(levels)


# --- the codec ------------------------------------------------------------------------------------------------------


def reference(codec, x):
    """Rows decoded value by value, and their bits as a string of 0 and 1."""
    shared, levels, texts = codec.shared, [], []
    ends = np.cumsum([2 ** int(width) for width in shared["widths"]])
    for one in np.split(shared["levels"].astype(np.float64), ends[:-1]):
        levels.append(one)
    axes = shared["axes"].astype(np.float64)
    rows = []
    for vector in x.astype(np.float64) - shared["mean"]:
        text, y = "", []
        for axis, reach, own, width in zip(axes.T, shared["reach"], levels, shared["widths"], strict=True):
            cell = int(np.abs(own - vector @ axis * reach).argmin())
            text += format(cell, f"0{width}b")
            y.append(own[cell] / reach)
        rows.append(np.linalg.lstsq(axes.T, np.array(y), rcond=None)[0] + shared["mean"])
        texts.append(text)
    return np.array(rows), texts


@pytest.mark.parametrize("size", [1, 5, 12, 24])
def test_codes_and_decoded_rows_against_a_reference(size):
    codec = build(f"transform_{size}", 0).fit(TRAIN)
    rows, texts = reference(codec, TEST[:40])
    packed = codec.encode(TEST[:40])["cells"]
    assert packed.shape == (40, size)
    assert ["".join(format(byte, "08b") for byte in row) for row in packed] == [
        one.ljust(8 * size, "0") for one in texts
    ]
    np.testing.assert_allclose(codec.decode(Codes({"cells": packed})), rows, atol=2e-5)


@pytest.mark.parametrize("size", [6, 12, 15])
def test_the_error_is_within_what_whole_bits_and_fixed_codes_cost(size):
    """Max's quantizers end 4.35 dB above the Gaussian limit, and are nearer to it at low rates. A rate that is off by a
    uniform half a bit to either side costs 10 log10 (1.5 / log 4) = 0.34 dB."""
    found = error(build(f"transform_{size}", 0).fit(TRAIN), TEST)
    least = water_filling.distortion(SPECTRUM, 8 * size)
    assert 1 < 10 * np.log10(found / least) < 4.69


def test_rounding_the_axes_to_int8_costs_nothing():
    """Against the same cells on axes of full precision."""
    mean = TRAIN.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(TRAIN.T, bias=True))
    found = np.zeros(TEST.shape)
    for variance, axis, bits in zip(variances, axes.T, allocate(variances, 8 * 12), strict=True):
        levels = np.sqrt(variance) * lloyd((TRAIN - mean) @ axis / np.sqrt(variance), bits)
        y = (TEST - mean) @ axis
        found += levels[np.abs(y[:, None] - levels).argmin(axis=1)][:, None] * axis
    exact = np.mean(np.sum((found + mean - TEST) ** 2, axis=1))
    assert error(build("transform_12", 0).fit(TRAIN), TEST) == pytest.approx(exact, rel=0.01)


def test_more_bytes_have_less_error():
    errors = [error(build(f"transform_{size}", 0).fit(TRAIN), TEST) for size in (1, 2, 4, 8, 16, 24)]
    assert (np.diff(errors) < 0).all()


def test_components_without_bits_are_not_shared():
    codec = build("transform_2", 0).fit(TRAIN)
    assert codec.shared["axes"].shape == (24, len(codec.shared["widths"]))
    assert len(codec.shared["widths"]) < 17
    assert len(codec.shared["levels"]) == sum(2 ** int(width) for width in codec.shared["widths"])


def test_asymmetric_search_ranks_as_decoded_rows_do():
    codec = build("transform_12", 0).fit(TRAIN)
    codes = codec.encode(TEST)
    decoded = codec.decode(codes)
    scores = TEST[:20] @ (decoded / np.linalg.norm(decoded, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(codec.searcher("asymmetric", codes)(TEST[:20], 5), np.argsort(-scores, axis=1)[:, :5])


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x", [np.zeros((10, 3)), np.ones((10, 3)), np.array([[1.0, 2, 3]])], ids=["zero", "same", "one"]
)
def test_rows_that_are_all_alike_come_back(x):
    x = x.astype(np.float32)
    codec = build("transform_2", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(x)), x, atol=1e-6)


def test_one_dimension_and_fewer_rows_than_dimensions():
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    assert error(build("transform_1", 0).fit(x), x) < 1e-3
    few = TRAIN[:5]
    assert error(build("transform_4", 0).fit(few), few) < 1e-4


def test_more_bytes_than_eight_bits_a_value_are_left_out():
    with pytest.raises(NotApplicableError, match="transform_25: 25 bytes are more than 8 bits for 24 values"):
        build("transform_25", 0).fit(TRAIN)


@pytest.mark.parametrize("name", ["transform", "transform_0", "transform_x", "transform_64_"])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match=f"transform has no codec '{name}'"):
        build(name, 0)


def test_codes_of_another_size_are_refused():
    codec = build("transform_4", 0).fit(TRAIN)
    with pytest.raises(UserError, match=r"transform_4: codes of another .* expected is cells uint8\[4\]"):
        codec.decode(build("transform_5", 0).fit(TRAIN).encode(TEST))
    with pytest.raises(UserError, match="vectors of 3 dimensions for a codec fitted on 24"):
        codec.encode(np.ones((2, 3), np.float32))
