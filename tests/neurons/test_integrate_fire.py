"""What each neuron's equation promises, in whole numbers and in float64."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.neurons import integrate_fire
from pipeline.neurons.integrate_fire import doubling, first_spike, non_adjacent, signed, started, waiting


def ran(neuron, state, steps, *inputs):
    """The state after some steps, and the spikes [steps, n]."""
    spikes = []
    for _ in range(steps):
        state, fired = neuron(state, *inputs)
        assert fired.dtype == np.int8
        spikes.append(fired)
    return state, np.array(spikes)


def whole(*numbers):
    return np.array(numbers, np.int64)


@given(st.data(), st.integers(1, 60))
def test_a_constant_input_fires_as_often_as_the_floor_says(data, steps):
    threshold = data.draw(st.integers(1, 10**9))
    start = data.draw(st.integers(0, threshold - 1))
    drive = data.draw(st.integers(0, threshold))
    state, spikes = ran(integrate_fire.step, started(whole(start)), steps, whole(drive), threshold)
    for t in range(1, steps + 1):
        assert spikes[:t].sum() == (start + drive * t) // threshold
    assert state.potential == (start + drive * steps) % threshold  # nothing is lost


def test_a_spike_takes_the_threshold_away_and_no_more():
    state, spikes = ran(integrate_fire.step, started(np.array([0.25])), 4, np.array([0.75]), 1.0)
    assert spikes[:, 0].tolist() == [1, 0, 1, 1]  # 1 -> 0, 0.75, 1.5 -> 0.5, 1.25 -> 0.25
    assert state.potential == 0.25


def test_a_step_leaves_its_state_alone():
    state = started(whole(3, 4))
    integrate_fire.step(state, whole(5, 5), 6)
    np.testing.assert_array_equal(state.potential, [3, 4])


@given(st.data(), st.integers(1, 60))
def test_signed_keeps_the_potential_within_half_a_threshold(data, steps):
    threshold = data.draw(st.integers(1, 10**9))
    drives = data.draw(st.lists(st.integers(-threshold, threshold), min_size=steps, max_size=steps))
    state, sent = started(whole(0)), 0
    for t, drive in enumerate(drives, start=1):
        state, spikes = signed(state, whole(drive), threshold)
        sent += int(spikes[0])
        assert 2 * abs(state.potential[0]) <= threshold
        assert sent * threshold + state.potential[0] == sum(drives[:t])


def test_signed_fires_beyond_the_half_not_at_it():
    _, spikes = signed(started(whole(5, 6, -5, -6, 0)), whole(0), 10)
    assert spikes.tolist() == [0, 1, 0, -1, 0]


@given(st.integers(1, 200), st.data())
def test_the_first_spike_comes_the_sooner_the_higher_the_start(threshold, data):
    start = data.draw(st.integers(0, threshold - 1))
    _, spikes = ran(first_spike, waiting(whole(start)), threshold + 5, whole(1), threshold)
    assert np.flatnonzero(spikes[:, 0]).tolist() == [threshold - start - 1]  # in step threshold - start, the only one


@pytest.mark.parametrize("places", [1, 2, 8, 11])
def test_doubling_gives_the_bits(places):
    state, spikes = ran(doubling, started(np.arange(2**places)), places, 2 ** (places - 1))
    for q in range(2**places):
        assert "".join(map(str, spikes[:, q])) == format(q, f"0{places}b")
    assert not state.potential.any()


def digits_of(q: int) -> list[int]:
    """The non-adjacent form, lowest first, by the textbook: an odd rest gets the digit that leaves a multiple of 4."""
    found = []
    while q:
        digit = 2 - q % 4 if q % 2 else 0
        found.append(digit)
        q = (q - digit) // 2
    return found


@pytest.mark.parametrize("places", [1, 2, 3, 8, 11])
def test_non_adjacent_gives_the_digits_for_all_integers_that_have_so_many(places):
    largest = 2 ** (places + 1) // 3
    q = np.arange(-largest, largest + 1)
    state, spikes = ran(non_adjacent, started(q), places, 2 ** (places - 1))
    for column, number in enumerate(q):
        expected = digits_of(int(number))
        assert spikes[::-1, column].tolist() == expected + [0] * (places - len(expected))
    assert not state.potential.any()
    assert len(digits_of(largest + 1)) > places


def test_powers_of_two_are_the_same_in_float64():
    for neuron, start, inputs in (
        (integrate_fire.step, np.arange(8), (np.arange(8), 8)),
        (signed, np.zeros(17, np.int64), (np.arange(-8, 9), 8)),
        (doubling, np.arange(16), (8,)),
        (non_adjacent, np.arange(-10, 11), (8,)),
    ):
        state, spikes = ran(neuron, started(start), 20, *inputs)
        scaled = tuple(one / 8 for one in inputs)
        real, same = ran(neuron, started(start / 8), 20, *scaled)
        np.testing.assert_array_equal(spikes, same)
        np.testing.assert_array_equal(state.potential / 8, real.potential)


def test_other_fractions_need_whole_numbers():
    """Why the codes count in whole numbers: 0.1 ten times is below 1 in float64."""
    _, spikes = ran(integrate_fire.step, started(np.zeros(1)), 10, np.array([0.1]), 1.0)
    _, exact = ran(integrate_fire.step, started(whole(0)), 10, whole(1), 10)
    assert (spikes.sum(), exact.sum()) == (0, 1)
    assert 10 * Fraction(1, 10) == 1


@pytest.mark.parametrize("start", [started, waiting])
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.float16])
def test_narrow_potentials_are_refused(start, kind):
    with pytest.raises(TypeError, match=f"{np.dtype(kind)}: expected int64 or float64"):
        start(np.zeros(3, kind))
