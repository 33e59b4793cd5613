import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spikes import positions
from pipeline.spikes.positions import Waves, cpg, gray, gray_bits, gray_positions, gray_waves, located, phase_shifted
from pipeline.stage import UserError


def test_gray_by_hand():
    words = ["".join(map(str, row)) for row in gray(8, 3).astype(int)]
    assert words == ["000", "001", "011", "010", "110", "111", "101", "100"]


@given(st.integers(1, 11))
def test_neighbours_differ_in_one_bit_and_all_positions_can_be_told_apart(bits):
    spikes = gray(2**bits, bits)
    assert np.all((spikes != np.roll(spikes, 1, axis=0)).sum(axis=1) == 1)
    assert positions.unambiguous_length(spikes) == 2**bits
    np.testing.assert_array_equal(gray_positions(spikes), np.arange(2**bits))


@given(st.integers(1, 12))
def test_gray_code_is_a_phase_shifted_code(bits):
    np.testing.assert_array_equal(phase_shifted(2**bits, gray_waves(bits)), gray(2**bits, bits))


def test_too_few_bits_are_refused_with_the_least_that_do():
    assert [gray_bits(length) for length in (1, 2, 3, 4, 5, 8, 9)] == [1, 1, 2, 2, 3, 3, 4]
    with pytest.raises(UserError, match=r"3 bits of Gray code tell 8 positions apart, not 9: the least that do are 4"):
        gray(9, 3)


@given(st.integers(1, 40), st.integers(1, 12))
def test_cpg_by_its_equation(steps, pairs):
    spikes = cpg(steps, pairs)
    assert spikes.shape == (steps, 2 * pairs)
    for t in range(steps):
        for k in range(pairs):
            angle = t / 10_000 ** (k / pairs)
            for neuron, value in ((2 * k, math.sin(angle)), (2 * k + 1, math.cos(angle))):
                if abs(value - 0.8) > 1e-9:
                    assert spikes[t, neuron] == (value > 0.8)


def test_cpg_starts_with_its_cosines():
    np.testing.assert_array_equal(cpg(1, 3), [[False, True] * 3])


@given(st.integers(1, 30), st.lists(st.tuples(st.floats(0.01, 3), st.floats(-3, 3)), min_size=1, max_size=6))
def test_phase_shifted_by_its_equation(steps, heads):
    waves = Waves(*(np.array(one) for one in zip(*heads, strict=True)))
    spikes = phase_shifted(steps, waves)
    for t in range(steps):
        for k, (frequency, phase) in enumerate(heads):
            value = math.sin(frequency * t + phase)
            if abs(value) > 1e-9:
                assert spikes[t, k] == (value > 0)


def test_a_phase_shifts_a_head_in_time():
    apart = phase_shifted(40, Waves(np.full(2, np.pi / 8), np.array([0.1, 0.1 + np.pi / 8])))
    np.testing.assert_array_equal(apart[1:, 0], apart[:-1, 1])


@given(st.lists(st.integers(0, 7), min_size=1, max_size=20))
def test_the_unambiguous_length_is_where_the_first_repeats_an_earlier_one(places):
    seen, expected = set(), len(places)
    for place, value in enumerate(places):
        if value in seen:
            expected = place
            break
        seen.add(value)
    assert positions.unambiguous_length(gray(8, 3)[places]) == expected


def test_a_wave_repeats_after_its_period():
    one = phase_shifted(100, Waves(np.array([2 * np.pi / 4]), np.array([0.1])))  # period 4: 1 1 0 0
    assert positions.unambiguous_length(one) == 1
    assert positions.unambiguous_length(one[:96].reshape(-1, 4)) == 1
    assert positions.unambiguous_length(one[:99].reshape(-1, 3)) == 4  # words of 3 steps drift through the period


@pytest.mark.parametrize("kind", positions.KINDS)
@pytest.mark.parametrize("timesteps", [1, 4, 9])
def test_positions_of_a_table_are_found_again(kind, timesteps):
    length = {1: 4, 4: 20, 9: 200}[timesteps] if kind != "phase_shifted" else {1: 2, 4: 20, 9: 200}[timesteps]
    known = positions.table(kind, length, timesteps)
    assert known.shape[:2] == (length, timesteps)
    order = np.random.default_rng(0).permutation(length)
    np.testing.assert_array_equal(located(known[order], known), order)


def test_what_a_table_holds():
    np.testing.assert_array_equal(positions.table("gray", 5, 3), np.repeat(gray(5, 3)[:, None], 3, axis=1))
    np.testing.assert_array_equal(positions.table("cpg", 5, 8, 20).reshape(40, 20), cpg(40, 10))
    flat = positions.table("phase_shifted", 5, 8, 20).reshape(40, 20)
    np.testing.assert_array_equal(flat, phase_shifted(40, positions.spread(20)))


def test_a_table_that_cannot_tell_its_positions_apart_is_refused():
    told = positions.unambiguous_length(cpg(100, 20))
    assert told == 13
    assert len(positions.table("cpg", told, 1)) == told
    with pytest.raises(
        UserError, match=r"cpg of 40 neurons and 1 steps a word tells 13 positions apart, not 14: .*gray"
    ):
        positions.table("cpg", told + 1, 1)
    assert len(positions.table("cpg", 2000, 8)) == 2000
    with pytest.raises(UserError, match=r"2 bits of Gray code tell 4 positions apart, not 5: the least that do are 3"):
        positions.table("gray", 5, 8, 2)


def test_spikes_of_no_position_are_refused():
    known = positions.table("gray", 5, 2)
    wrong = known[[1, 2]].copy()
    wrong[1, 1, 0] ^= True
    with pytest.raises(UserError, match="the spikes of word 1 are those of no position below 5"):
        located(wrong, known)
    with pytest.raises(UserError, match="a table of 3 positions that tells 2 apart"):
        located(known[:1], known[[0, 1, 1]])


@pytest.mark.parametrize(
    ("kind", "neurons", "message"),
    [
        ("learned", None, "no code 'learned'; there are gray, cpg, phase_shifted"),
        ("cpg", 7, "an even number"),
        ("gray", 0, "at least 1"),
        ("phase_shifted", -1, "at least 1"),
    ],
)
def test_tables_that_there_are_not(kind, neurons, message):
    with pytest.raises(UserError, match=message):
        positions.table(kind, 2, 2, neurons)
