"""Events and packed bits are two forms of the same train, and lists that are no events are refused with their place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes import events
from pipeline.spikes.events import Events, of, to_train
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


@st.composite
def trains(draw):
    shape = draw(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 20)))
    signed = draw(st.booleans())
    values = st.sampled_from([0, 1, -1] if signed else [0, 1])
    return SpikeTrain.from_dense(draw(hnp.arrays(np.int8, shape, elements=values)), signed)


def assert_same(found, wanted):
    np.testing.assert_array_equal(found.packed, wanted.packed, strict=True)
    assert (found.neurons, found.signed) == (wanted.neurons, wanted.signed)
    if wanted.signed:
        np.testing.assert_array_equal(found.negative, wanted.negative, strict=True)


@given(trains())
def test_events_and_packed_bits_are_the_same(train):
    assert_same(to_train(of(train)), train)


@given(trains())
def test_events_are_those_of_a_slow_loop(train):
    found, dense = of(train), train.to_dense()
    assert len(found) == len(train)
    assert (found.neurons, found.timesteps, found.slots) == (
        train.neurons, train.timesteps, train.neurons * train.timesteps,
    )  # fmt: skip
    assert (found.offsets.dtype, found.address.dtype) == (np.int64, np.uint32)
    for vector in range(len(train)):
        mine = slice(found.offsets[vector], found.offsets[vector + 1])
        wanted = [
            (step, neuron, dense[step, vector, neuron] < 0)
            for step in range(train.timesteps)
            for neuron in range(train.neurons)
            if dense[step, vector, neuron]
        ]
        negative = found.negative[mine] if train.signed else np.zeros(len(wanted), bool)
        assert list(zip(found.time[mine], found.neuron[mine], negative, strict=True)) == wanted
    assert (found.negative is not None) == train.signed


@given(trains())
def test_steps_and_neurons_make_the_events_again(train):
    one = of(train)
    again = Events.at(
        one.offsets, one.time.astype(np.int64), one.neuron.astype(np.uint16), one.neurons, one.timesteps, one.negative
    )
    np.testing.assert_array_equal(again.address, one.address, strict=True)
    assert_same(to_train(again), train)


def test_many_pieces_are_as_one(monkeypatch):
    train = SpikeTrain.from_dense(np.random.default_rng(0).integers(-1, 2, (3, 50, 13)), True)
    whole = of(train)
    monkeypatch.setattr(events, "PIECE_SLOTS", 100)  # two vectors
    cut = of(train)
    np.testing.assert_array_equal(cut.offsets, whole.offsets)
    np.testing.assert_array_equal(cut.address, whole.address)
    np.testing.assert_array_equal(cut.negative, whole.negative)
    assert_same(to_train(cut), train)


def test_more_slots_than_32_bits_count():
    found = Events.at(np.array([0, 2]), np.array([0, 1]), np.array([5, 2**32]), 2**32 + 1, 2)
    assert found.address.dtype == np.uint64
    assert found.address.tolist() == [5, 2**33 + 1]
    assert (found.time.tolist(), found.neuron.tolist()) == ([0, 1], [5, 2**32])
    assert events.address_type(2**32) is np.uint32  # the last address is 2^32 - 1


OFFSETS, TIME, NEURON = np.array([0, 3, 3, 5]), np.array([0, 0, 1, 0, 1]), np.array([2, 6, 0, 2, 1])


def at(offsets=OFFSETS, time=TIME, neuron=NEURON, negative=None, neurons=7, timesteps=2):
    return Events.at(np.array(offsets), np.array(time), np.array(neuron), neurons, timesteps, negative)


def test_the_right_ones_of_the_refused_lists():
    assert to_train(at()).spikes == 5
    assert of(to_train(at())).address.tolist() == [2, 6, 7, 2, 8]
    assert to_train(at(offsets=[0, 0, 5, 5], time=[0] * 5, neuron=[0, 1, 2, 3, 6])).counts()[1].sum() == 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"neuron": [6, 2, 0, 2, 1]}, "vector 0, event 1 (step 0, neuron 2): out of order behind a later one"),
        ({"time": [0, 0, 1, 1, 0]}, "vector 2, event 1 (step 0, neuron 1): out of order behind a later one"),
        ({"time": [0, 0, 1, 1, 1], "neuron": [2, 6, 0, 1, 1]}, "vector 2, event 1 (step 1, neuron 1): stands twice"),
        ({"neuron": [2, 7, 0, 2, 1]}, "vector 0, event 1 (step 0, neuron 7): beyond 2 steps of 7 neurons"),
        ({"neuron": [2, 6, 0, -1, 1]}, "vector 2, event 0 (step 0, neuron -1): beyond 2 steps of 7 neurons"),
        ({"time": [0, 0, 1, 0, 2]}, "vector 2, event 1 (step 2, neuron 1): beyond 2 steps of 7 neurons"),
        ({"time": [0, 0, -1, 0, 1]}, "vector 0, event 2 (step -1, neuron 0): beyond 2 steps of 7 neurons"),
        ({"offsets": [0, 3, 2, 5]}, "offsets do not fit: vector 1 begins at event 3 and ends at 2"),
        ({"offsets": [0, 3, 4]}, "offsets go from 0 to 4: expected 0 to 5, all events"),
        ({"offsets": [1, 3, 5]}, "offsets go from 1 to 5: expected 0 to 5, all events"),
        ({"offsets": [0.0, 5.0]}, "offsets of type float64 [2]: expected int64 [n + 1]"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets of type int64 [0]: expected int64 [n + 1]"),
        ({"neuron": [2, 6, 0, 2]}, "neurons of type int64 [4]: expected integers [5]"),
        ({"time": [0.0, 0, 1, 0, 1]}, "steps of type float64 [5]: expected integers [5]"),
        ({"negative": np.zeros(4, bool)}, "signs of type bool [4]: expected bool [5]"),
        ({"negative": np.zeros(5, np.uint8)}, "signs of type uint8 [5]: expected bool [5]"),
        ({"neurons": -1}, "2 steps of -1 neurons: expected 0 or more"),
        ({"timesteps": 2**61}, f"{2**61} steps of 7 neurons: expected 0 or more, below 2^63 together"),
    ],
)
def test_lists_that_are_no_events_are_refused(changed, message):
    with pytest.raises(UserError) as error:
        at(**changed)
    assert str(error.value).startswith(f"events: {message}")


def test_addresses_that_are_no_events_are_refused():
    for address, message in [
        (np.array([2, 14], np.uint32), r"vector 0, event 1 \(step 2, neuron 0\): beyond 2 steps of 7 neurons"),
        (np.array([2, 2], np.uint32), r"vector 0, event 1 \(step 0, neuron 2\): stands twice"),
        (np.array([9, 2], np.uint32), r"vector 0, event 1 \(step 0, neuron 2\): out of order behind a later one"),
        (np.array([2, 9]), r"addresses of type int64 \[2\]: expected uint32 \[m\]"),
        (np.array([[2], [9]], np.uint32), r"addresses of type uint32 \[2, 1\]: expected uint32 \[m\]"),
    ]:
        with pytest.raises(UserError, match=f"events: {message}"):
            Events(np.array([0, 2]), address, 7, 2)
