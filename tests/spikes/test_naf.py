from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.naf import build
from pipeline.stage import UserError

WIDTHS = st.integers(2, 16)


def every(steps):
    """All integers of the code, [1, 2^K - 1]."""
    h = 2 ** (steps - 1) - 1
    return np.arange(-h, h + 1, dtype=np.int32)[None]


def digits(steps, q):
    """int8 [K, d] of one vector."""
    train = build(f"naf_{steps}", 0).to_spikes(q)
    return np.stack([train.plane(step)[0] for step in range(steps)])


@pytest.mark.parametrize("steps", range(2, 17))
def test_all_integers_come_back(steps):
    q = every(steps)
    codec = build(f"naf_{steps}", 0)
    assert (codec.lowest, codec.highest) == (q.min(), q.max())
    train = codec.to_spikes(q)
    assert train.timesteps == steps
    np.testing.assert_array_equal(codec.to_integers(train), q)
    places = 2 ** np.arange(steps - 1, -1, -1)
    np.testing.assert_array_equal(places @ digits(steps, q).astype(np.int64), q[0])


@pytest.mark.parametrize("steps", [2, 3, 5, 8, 12, 16])
def test_no_two_neighbouring_steps_have_a_spike(steps):
    fired = digits(steps, every(steps)) != 0
    assert not (fired[1:] & fired[:-1]).any()


@pytest.mark.parametrize("steps", range(2, 9))
def test_no_signed_binary_form_has_fewer_spikes(steps):
    """By exhaustion: all 3^(K+1) forms of K + 1 digits, of which there might be shorter ones."""
    forms = np.array(list(product((-1, 0, 1), repeat=steps + 1)), np.int32)
    values, weights = forms @ 2 ** np.arange(steps, -1, -1), np.abs(forms).sum(axis=1)
    q = every(steps)
    least = [weights[values == one].min() for one in q[0]]
    np.testing.assert_array_equal(np.abs(digits(steps, q)).sum(axis=0), least)


def test_digits_by_hand():
    found = digits(5, np.array([[7, -7, 11, 0, 15, -1]], np.int32)).T.tolist()
    assert found[0] == [0, 1, 0, 0, -1]  # 8 - 1
    assert found[1] == [0, -1, 0, 0, 1]
    assert found[2] == [1, 0, -1, 0, -1]  # 16 - 4 - 1
    assert found[3] == [0] * 5
    assert found[4] == [1, 0, 0, 0, -1]
    assert found[5] == [0, 0, 0, 0, -1]


@given(x=hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 20)), elements=st.floats(-9, 9, width=32)),
       steps=WIDTHS)  # fmt: skip
def test_round_trip_of_any_rows(x, steps):
    codec = build(f"naf_{steps}", 0).fit(x)
    codes = codec.encode(x)
    q = codec.integers(x)
    np.testing.assert_array_equal(codec.stored_integers(codes), q)
    half = codec.shared["step"] / 2
    coarse = 2**steps * np.finfo(np.float32).smallest_subnormal  # of a step that is no normal number
    error = np.abs(codec.decode(codes).astype(np.float64) - x)
    assert np.all(error <= half * 1.001 + np.abs(x).max() * 3e-7 + coarse)


def test_uniform_integers_have_a_third_of_the_spikes():
    train = build("naf_16", 0).to_spikes(every(16))
    assert train.spikes / train.slots == pytest.approx(1 / 3, abs=0.015)
    negative = np.bitwise_count(train.negative).sum()
    assert 2 * negative == train.spikes  # as many of either sign, for all integers and their negatives


def test_codes_store_spikes_and_signs():
    x = np.random.default_rng(0).standard_normal((9, 12)).astype(np.float32)
    codes = build("naf_8", 0).fit(x).encode(x)
    assert codes.nbytes == 9 * 8 * 2 * 2
    assert sorted(codes.arrays) == ["signs", "spikes"]


@pytest.mark.parametrize("name", ["naf_1", "naf_17", "naf_0", "naf", "naf_8_16", "naf_08"])
def test_unknown_names(name):
    with pytest.raises(UserError, match=r"naf has no codec '.*'; its names are naf_<bits>, 2 to 16 bits"):
        build(name, 0)
