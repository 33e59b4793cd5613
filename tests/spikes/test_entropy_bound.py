import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import entropy

from pipeline.spikes.entropy_bound import least_spikes, slot_bits
from pipeline.spikes.minimum_weight import lightest, ranked
from pipeline.stage import UserError


def test_slot_bits_by_hand():
    assert [slot_bits(p) for p in (0, 0.5, 1)] == [0, 1, 0]
    assert slot_bits(0.25) == pytest.approx(2 - 0.75 * math.log2(3))
    assert slot_bits(2 / 3, signed=True) == pytest.approx(math.log2(3))
    assert slot_bits(1, signed=True) == 1


@pytest.mark.parametrize("signed", [False, True])
@given(share=st.floats(0.001, 0.999), slots=st.integers(1, 2500))
def test_it_is_the_root_on_the_rising_branch(signed, share, slots):
    """Against scipy's entropy and root finder."""
    most = 2 / 3 if signed else 1 / 2

    def capacity(p):
        return slots * entropy([1 - p, p / 2, p / 2] if signed else [1 - p, p], base=2)

    rate = share * capacity(most)
    expected = slots * brentq(lambda p: capacity(p) - rate, 0, most, xtol=1e-14)
    assert least_spikes(rate, slots, signed) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_values_by_hand():
    assert least_spikes(0, 16) == 0
    assert least_spikes(16, 16) == pytest.approx(8)  # all words equally frequent
    assert least_spikes(16 * math.log2(3) - 1e-12, 16, signed=True) == pytest.approx(32 / 3, rel=1e-5)
    assert least_spikes(slot_bits(0.1) * 16, 16) == pytest.approx(1.6)
    assert least_spikes(slot_bits(0.1, signed=True) * 16, 16, signed=True) == pytest.approx(1.6)
    assert least_spikes(5, 16, signed=True) < least_spikes(5, 16)


@given(rate=st.floats(0.01, 8), slots=st.integers(8, 500))
def test_more_slots_or_fewer_bits_need_no_more_spikes(rate, slots):
    assert least_spikes(rate, slots + 1) <= least_spikes(rate, slots)
    assert least_spikes(rate / 2, slots) <= least_spikes(rate, slots)


@given(st.integers(1, 6), st.integers(0, 4), st.data())
def test_no_codebook_is_below_the_line(bits, spare, data):
    """Not even the best one (`minimum_weight`), of any histogram."""
    slots = bits + spare
    found = data.draw(st.lists(st.integers(0, 1000), min_size=2**bits, max_size=2**bits).filter(any))
    frequency = np.array(found)
    weights = np.bitwise_count(lightest(2**bits, slots)[ranked(frequency)])
    mean = frequency @ weights / frequency.sum()
    assert mean >= least_spikes(entropy(frequency, base=2) * (1 - 1e-12), slots) - 1e-9


def test_a_code_of_independent_slots_is_on_the_line():
    """Two slots, each with a spike by a chance of 1/4: frequencies 9, 3, 3, 1."""
    frequency = np.array([3, 9, 1, 3])
    weights = np.bitwise_count(lightest(4, 2)[ranked(frequency)])
    mean = frequency @ weights / 16
    assert mean == 0.5
    assert least_spikes(entropy(frequency, base=2), 2) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("rate", "slots", "signed", "message"),
    [
        (8.01, 8, False, "8.01 bits a value: 8 slots carry 0 to 8"),
        (-1, 8, False, "-1 bits a value: 8 slots carry 0 to 8"),
        (2, 1, True, "2 bits a value: 1 slots carry 0 to 1.58496"),
        (math.nan, 8, False, "nan bits"),
    ],
)
def test_a_rate_that_slots_cannot_carry_is_refused(rate, slots, signed, message):
    with pytest.raises(UserError, match=message):
        least_spikes(rate, slots, signed)
