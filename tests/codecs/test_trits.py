import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs import trits
from pipeline.codecs.trit_strings import trit_strings, trits_of_strings
from pipeline.stage import UserError

SHARES = st.sampled_from([(1 / 3, 1 / 3, 1 / 3), (0.05, 0.9, 0.05), (0, 1, 0), (1, 0, 0), (0.5, 0, 0.5)])


def drawn(rows, dims, share, seed=0):
    return np.random.default_rng(seed).choice([-1, 0, 1], (rows, dims), p=share).astype(np.int8)


def test_both_forms_come_back_at_every_length_from_1_to_1000():
    counts = np.array([[60, 80, 60]], np.uint8)
    for dims in range(1, 1001):
        some = drawn(3, dims, (0.3, 0.4, 0.3), dims)
        packed = trits.pack(some)
        assert packed.dtype == np.uint8
        assert packed.shape == (3, (dims + 4) // 5)
        np.testing.assert_array_equal(trits.unpack(packed, dims), some)
        np.testing.assert_array_equal(trits_of_strings(trit_strings(some, counts), dims, counts), some)


@given(dims=st.integers(1, 1000), share=SHARES, seed=st.integers(0, 99), each=st.booleans())
def test_strings_come_back_whatever_the_trits_and_frequencies(dims, share, seed, each):
    rng = np.random.default_rng(seed)
    some = drawn(4, dims, share, seed)
    counts = rng.integers(1, 256, (dims if each else 1, 3)).astype(np.uint8)
    np.testing.assert_array_equal(trits_of_strings(trit_strings(some, counts), dims, counts), some)


def test_bytes_by_hand():
    # (t + 1) in base 3, the first trit lowest; the empty place behind counts as t = 0, so as 1 * 81.
    np.testing.assert_array_equal(trits.pack(np.array([[-1, 0, 1, -1]], np.int8)), [[0 + 3 + 2 * 9 + 0 + 81]])
    np.testing.assert_array_equal(trits.pack(np.ones((1, 5), np.int8)), [[242]])
    np.testing.assert_array_equal(trits.unpack(np.array([[0, 242]], np.uint8), 7), [[-1, -1, -1, -1, -1, 1, 1]])


def test_all_243_bytes_are_different_trits():
    every = trits.unpack(np.arange(243, dtype=np.uint8)[:, None], 5)
    assert len(np.unique(every, axis=0)) == 243
    np.testing.assert_array_equal(trits.pack(every)[:, 0], np.arange(243))


@pytest.mark.parametrize("byte", [243, 255])
def test_bytes_that_are_no_trits_are_named(byte):
    packed = np.zeros((4, 2), np.uint8)
    packed[2, 1] = byte
    with pytest.raises(UserError, match=f"byte 1 of row 2 is {byte}"):
        trits.unpack(packed, 10)


def test_another_width_and_other_values_are_refused():
    with pytest.raises(UserError, match="11 trits take 3 bytes"):
        trits.unpack(np.zeros((4, 2), np.uint8), 11)
    with pytest.raises(UserError, match="trits are -1, 0 or 1"):
        trits.pack(np.array([[2]], np.int8))


@pytest.mark.parametrize("share", [(0.27, 0.46, 0.27), (0.1, 0.8, 0.1), (0.02, 0.96, 0.02)])
def test_strings_are_as_long_as_the_entropy_asks_for(share):
    some = drawn(300, 1000, share)
    counts = np.round(np.array([share]) * 250).astype(np.uint8)
    strings = trit_strings(some, counts)
    entropy = -sum(p * np.log2(p) for p in share)
    bottom = 20 * (np.log2(3) - entropy) / 8  # the trits in base 3 cost that much more
    assert np.mean([len(string) for string in strings]) < 1000 * entropy / 8 + bottom + 1.2


def test_damaged_strings_are_named():
    some = drawn(5, 200, (0.3, 0.4, 0.3))
    counts = np.array([[3, 4, 3]], np.uint8)
    for damage in (b"", some.tobytes()[:400], trit_strings(some, counts)[0] + b"\1\1\1\1\1\1"):
        strings = trit_strings(some, counts)
        strings[3] = damage
        with pytest.raises(UserError, match="vector 3 is damaged"):
            trits_of_strings(strings, 200, counts)
