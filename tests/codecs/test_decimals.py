from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs import decimals


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=30), st.integers(0, 5))
def test_printed_numbers_are_decimals_of_that_many_places(numbers, places):
    x = np.array([float(f"{number:.{places}f}") for number in numbers], np.float32)
    m, e, fits = decimals.split(x, 8, -places)
    near = np.abs(x) < 100  # 1000.00000 has more digits than 8
    assert fits[near].all()
    for value, whole, power in zip(x[fits].tolist(), m[fits].tolist(), e[fits].tolist(), strict=True):
        assert np.float32(Decimal(whole).scaleb(power)) == abs(np.float32(value))


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30), st.integers(2, 6))
def test_rounded_significands_are_found_with_their_power(numbers, digits):
    texts = [f"{number:.{digits - 1}e}" for number in numbers]
    m, e, fits = decimals.split(np.array([float(text) for text in texts], np.float32), digits, -12)
    assert fits.all()
    for text, whole, power in zip(texts, m.tolist(), e.tolist(), strict=True):
        assert Decimal(text) == Decimal(whole).scaleb(power)
        assert 10 ** (digits - 1) <= whole < 10**digits


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30), st.integers(1, 8), st.integers(-12, 3))
def test_what_fits_comes_back_bit_for_bit_whatever_the_bits(patterns, digits, lowest):
    x = np.array(patterns, np.uint32).view(np.float32)
    m, e, fits = decimals.split(x, digits, lowest)
    np.testing.assert_array_equal(decimals.join(m[fits], e[fits]).view(np.uint32), np.abs(x[fits]).view(np.uint32))
    assert np.all((m[fits] < 10**digits) & (e[fits] >= lowest))
    assert not fits[~np.isfinite(x)].any()


@pytest.mark.parametrize("value", [1 / 3, np.pi, 0.1234567, np.inf, np.nan, 1e-30, 3e38])
def test_what_is_no_decimal_is_said_to_be_none(value):
    assert not decimals.split(np.array([value], np.float32), 5, -8)[2][0]


def test_powers_of_ten_are_decimals_on_whichever_side_of_them_the_float_lies():
    x = np.array([0.1, 0.01, 0.001, 1e-4, 1, 10, 99999.5], np.float32)
    m, e, fits = decimals.split(x, 5, -12)
    assert fits.tolist() == [True] * 6 + [False]
    assert (m[:6].tolist(), e[:6].tolist()) == ([10_000] * 6, [-5, -6, -7, -8, -4, -3])


def test_zero_is_a_decimal():
    m, e, fits = decimals.split(np.zeros(2, np.float32), 5, -4)
    assert (m.tolist(), e.tolist(), fits.tolist()) == ([0, 0], [-4, -4], [True, True])
