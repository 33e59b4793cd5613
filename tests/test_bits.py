import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import bits

bool_rows = st.tuples(st.integers(1, 6), st.integers(1, 40)).flatmap(lambda shape: hnp.arrays(bool, shape))


def bits_by_hand(packed, count):
    """Most significant bit first, byte by byte."""
    return [[bool(row[i // 8] >> (7 - i % 8) & 1) for i in range(count)] for row in packed.tolist()]


@given(bool_rows)
def test_packed_bits_come_back(rows):
    packed = bits.pack(rows)
    assert packed.dtype == np.uint8
    assert packed.shape == (len(rows), -(-rows.shape[1] // 8))
    assert bits_by_hand(packed, rows.shape[1]) == rows.tolist()
    np.testing.assert_array_equal(bits.unpack(packed, rows.shape[1]), rows)
    np.testing.assert_array_equal(bits.signs(packed, rows.shape[1]), np.where(rows, 1, -1))
    assert bits.signs(packed, rows.shape[1]).dtype == np.float32


@given(bool_rows)
def test_padding_is_zero(rows):
    padded = -(-rows.shape[1] // 8) * 8
    assert not bits.unpack(bits.pack(rows), padded)[:, rows.shape[1] :].any()


@given(st.integers(1, 40), st.integers(0, 99), st.sampled_from(["big", "little"]))
def test_hamming_similarity_against_a_loop_whatever_the_order_of_bits(count, seed, order):
    rng = np.random.default_rng(seed)
    a, b = rng.random((3, count)) < 0.5, rng.random((4, count)) < 0.5
    expected = [[1 - 2 * sum(x != y for x, y in zip(one, two, strict=True)) / count for two in b] for one in a]
    packed = (np.packbits(part, axis=1, bitorder=order) for part in (a, b))
    np.testing.assert_allclose(bits.hamming_similarity(*packed, count), expected, atol=1e-7)


def test_equal_codes_are_1_and_opposite_codes_minus_1():
    rows = np.random.default_rng(0).random((5, 13)) < 0.5
    np.testing.assert_array_equal(np.diag(bits.hamming_similarity(bits.pack(rows), bits.pack(rows), 13)), 1)
    np.testing.assert_array_equal(np.diag(bits.hamming_similarity(bits.pack(rows), bits.pack(~rows), 13)), -1)
