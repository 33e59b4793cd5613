"""The arithmetic coder: bytes of an exact reference, decisions that come back, and a cut that costs what it cuts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs import binary_coder as coder

DECISIONS = st.lists(st.tuples(st.booleans(), st.integers(1, 4095)), max_size=300)


def written(decisions, size=2000):
    state, out = np.zeros(coder.WRITER, np.int64), np.zeros(size, np.uint8)
    coder.start_writing(state)
    for bit, chance in decisions:
        coder.put(state, out, bit, chance)
    coder.finish(state, out)
    return out[: state[coder.LENGTH]]


def read(code, decisions):
    state = np.zeros(coder.READER, np.int64)
    coder.start_reading(state, code)
    return [coder.get(state, code, chance) for _, chance in decisions]


def reference(decisions):
    """The same with one whole number for low, which needs no carries."""
    low, width, bits = 0, coder.WHOLE, 32
    for bit, chance in decisions:
        bound = (width >> 12) * chance
        low, width = (low + bound, width - bound) if bit else (low, bound)
        while width < coder.TOP:
            low, width, bits = low << 8, (width << 8) & coder.WHOLE, bits + 8
    return low.to_bytes(bits // 8, "big")


@given(DECISIONS)
def test_bytes_are_those_of_whole_numbers(decisions):
    assert written(decisions).tobytes()[: len(reference(decisions))] == reference(decisions)


@pytest.mark.parametrize("chance", [1, 4095])
def test_carries_run_through_many_bytes(chance):
    """Unlikely ones keep low just below a power of 256 for long."""
    decisions = [(True, 4095)] * 200 + [(False, 1)] * 5 + [(True, chance)] * 50
    assert written(decisions).tobytes()[: len(reference(decisions))] == reference(decisions)
    assert read(written(decisions), decisions) == [int(bit) for bit, _ in decisions]


@given(DECISIONS, st.integers(0, 60))
def test_decisions_come_back_up_to_where_the_code_is_cut(decisions, size):
    whole, bits = written(decisions), [int(bit) for bit, _ in decisions]
    assert read(whole, decisions) == bits
    found = read(whole[:size], decisions)
    certain = found.index(-1) if -1 in found else len(found)
    assert found[:certain] == bits[:certain]


def test_the_length_is_the_decisions_information():
    rng = np.random.default_rng(0)
    decisions = [(rng.random() > p / 4096, p) for p in rng.integers(1, 4096, 20_000).tolist()]
    information = -sum(np.log2((4096 - p if bit else p) / 4096) for bit, p in decisions)
    assert information < 8 * len(written(decisions, 20_000)) < information * 1.001 + 40


def test_a_cut_loses_only_what_it_cuts():
    decisions = [(bool(bit), coder.HALF) for bit in np.random.default_rng(0).integers(0, 2, 400)]
    for size in (1, 10, 40):
        found = read(written(decisions)[:size], decisions)
        assert 8 * size - 8 <= found.index(-1) <= 8 * size


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_chances_are_those_of_the_counts(zeros, ones):
    found = coder.chances(coder.chance_of(np.array([zeros]), np.array([ones])))[0]
    assert 8 <= found <= 4088
    assert found / 4096 == pytest.approx((zeros + 0.5) / (zeros + ones + 1), abs=1 / 256)
