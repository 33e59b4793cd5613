"""The packed form: what it refuses, and every property against a slow loop. Events and files: their own tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 20))  # T, n, P


@st.composite
def dense_trains(draw):
    """(dense [T, n, P], whether spikes have signs)"""
    signed = draw(st.booleans())
    values = st.sampled_from([0, 1, -1] if signed else [0, 1])
    return draw(hnp.arrays(np.int8, draw(SHAPES), elements=values)), signed


@given(dense_trains())
def test_packed_and_dense_are_the_same(pair):
    dense, signed = pair
    train = SpikeTrain.from_dense(dense, signed)
    steps, rows, neurons = dense.shape
    assert (train.timesteps, len(train), train.neurons, train.signed) == (steps, rows, neurons, signed)
    assert train.packed.shape == (rows, steps, math.ceil(neurons / 8))
    again = train.to_dense()
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, dense)
    for step in range(steps):
        plane = train.plane(step)
        assert plane.dtype == np.int8
        np.testing.assert_array_equal(plane, dense[step])


@given(dense_trains())
def test_each_spike_is_the_bit_that_it_should_be(pair):
    dense, signed = pair
    train = SpikeTrain.from_dense(dense, signed)
    for step, row, neuron in np.ndindex(dense.shape):
        byte, bit = divmod(neuron, 8)
        assert train.packed[row, step, byte] >> (7 - bit) & 1 == (dense[step, row, neuron] != 0)
        if signed:
            assert train.negative[row, step, byte] >> (7 - bit) & 1 == (dense[step, row, neuron] < 0)


@given(dense_trains())
def test_properties_are_those_of_a_slow_loop(pair):
    dense, signed = pair
    train = SpikeTrain.from_dense(dense, signed)
    tally, counts = {0: 0, 1: 0, -1: 0}, np.zeros(dense.shape[1:], int)
    for step, row, neuron in np.ndindex(dense.shape):
        value = int(dense[step, row, neuron])
        tally[value] += 1
        counts[row, neuron] += value
    slots = sum(tally.values())
    assert train.slots == slots
    assert train.bits == slots * (2 if signed else 1)
    assert train.spikes == tally[1] + tally[-1]
    assert train.sparsity == pytest.approx(tally[0] / slots if slots else 1.0)
    entropy = -sum(n * math.log2(n / slots) for n in tally.values() if n)
    assert train.entropy_bits == pytest.approx(entropy, abs=1e-9)
    assert train.counts().dtype == np.int32
    np.testing.assert_array_equal(train.counts(), counts)


def test_entropy_of_known_trains():
    half = np.tile(np.array([0, 1], np.int8), (4, 3, 5))
    assert SpikeTrain.from_dense(half).entropy_bits == pytest.approx(half.size)
    thirds = np.tile(np.array([0, 1, -1], np.int8), (4, 3, 5))
    assert SpikeTrain.from_dense(thirds, True).entropy_bits == pytest.approx(thirds.size * math.log2(3))
    assert SpikeTrain.from_dense(np.ones((4, 3, 5))).entropy_bits == 0


def test_take_takes_vectors_in_the_order_given():
    dense = np.random.default_rng(0).integers(-1, 2, (3, 5, 11))
    train = SpikeTrain.from_dense(dense, True).take(np.array([4, 0, 4]))
    np.testing.assert_array_equal(train.to_dense(), dense[:, [4, 0, 4]])
    unsigned = SpikeTrain.from_dense(abs(dense)).take(np.array([2]))
    assert not unsigned.signed
    np.testing.assert_array_equal(unsigned.to_dense(), abs(dense)[:, [2]])


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32, np.float64])
def test_dense_may_be_of_any_type(dtype):
    dense = np.random.default_rng(0).integers(0, 2, (3, 5, 11)).astype(dtype)
    np.testing.assert_array_equal(SpikeTrain.from_dense(dense).to_dense(), dense)


@pytest.mark.parametrize(
    ("value", "signed", "message"),
    [
        (-1, False, "-1.0 at step 2 of vector 1, neuron 3: expected one of 0, 1"),
        (2, False, "2.0 at step 2 of vector 1, neuron 3: expected one of 0, 1"),
        (0.5, True, "0.5 at step 2 of vector 1, neuron 3: expected one of 0, 1, -1"),
        (np.nan, True, "nan at step 2 of vector 1, neuron 3: expected one of 0, 1, -1"),
    ],
)
def test_what_is_no_spike_is_named_with_its_place(value, signed, message):
    dense = np.zeros((4, 2, 5), np.float32)
    dense[2, 1, 3] = value
    with pytest.raises(UserError) as error:
        SpikeTrain.from_dense(dense, signed)
    assert str(error.value) == f"spike train: {message}"


def packed(*shape, fill=0):
    return np.full(shape, fill, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "neurons", "message"),
    [
        ((packed(2, 3, 1),), 9, r"uint8 \[2, 3, 1\]: 9 neurons are uint8 \[n, T, 2\]"),
        ((packed(2, 3, 2).astype(np.int8),), 9, r"int8 \[2, 3, 2\]: 9 neurons are uint8 \[n, T, 2\]"),
        ((packed(3, 2),), 9, r"uint8 \[3, 2\]: 9 neurons are uint8 \[n, T, 2\]"),
        ((packed(2, 3, 0),), -1, "-1 neurons: expected 0 or more"),
        ((packed(2, 3, 2, fill=1),), 9, "a spike of a neuron beyond the last, 8"),
        ((packed(2, 3, 1), packed(2, 2, 1)), 8, r"signs of uint8 \[2, 2, 1\] for spikes of \[2, 3, 1\]"),
        ((packed(2, 3, 1), packed(2, 3, 1).astype(bool)), 8, r"signs of bool \[2, 3, 1\] for spikes"),
        ((packed(2, 3, 1), packed(2, 3, 1, fill=4)), 8, "a sign where there is no spike"),
    ],
)
def test_arrays_that_are_no_train_are_refused(arrays, neurons, message):
    with pytest.raises(UserError, match=f"spike train: {message}"):
        SpikeTrain(arrays[0], neurons, *arrays[1:])


def test_dense_of_another_rank_is_refused():
    with pytest.raises(UserError, match=r"shape \[3, 4\]: expected \[T, n, P\]"):
        SpikeTrain.from_dense(np.zeros((3, 4)))


def test_the_last_byte_may_be_full_up_to_the_last_neuron():
    assert SpikeTrain(packed(1, 1, 2, fill=0x80), 9).spikes == 2
    assert SpikeTrain(packed(1, 1, 1, fill=0xFF), 8).spikes == 8
