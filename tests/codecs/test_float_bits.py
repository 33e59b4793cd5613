import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs import float_bits

patterns = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50).map(
    lambda found: np.array(found, np.uint32).view(np.float32)
)


@given(patterns)
def test_every_finite_pattern_is_a_whole_number_and_a_power_of_two(x):
    m, e, finite = float_bits.split(x)
    np.testing.assert_array_equal(finite, np.isfinite(x))
    for value, significand, exponent in zip(x[finite].tolist(), m[finite].tolist(), e[finite].tolist(), strict=True):
        assert abs(value) == significand * 2.0**exponent  # float64: exact
        assert significand < 2**24
        assert exponent >= -149
        assert significand >= 2**23 or exponent == -149
    size = float_bits.join(m[finite], e[finite])
    np.testing.assert_array_equal(size.view(np.uint32), np.abs(x[finite]).view(np.uint32))


def test_the_ends_of_the_format():
    info = np.finfo(np.float32)
    x = np.array([0, -0.0, info.smallest_subnormal, info.tiny, 1, info.max, np.inf, np.nan], np.float32)
    m, e, finite = float_bits.split(x)
    assert m[:6].tolist() == [0, 0, 1, 2**23, 2**23, 2**24 - 1]
    assert e[:6].tolist() == [-149, -149, -149, -149, -23, 104]
    assert finite.tolist() == [True] * 6 + [False] * 2


def test_too_large_a_number_of_damaged_codes_becomes_infinity_without_a_warning():
    assert np.isinf(float_bits.join(np.array([2**23]), np.array([5000])))
