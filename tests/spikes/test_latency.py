import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.latency import build
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


@given(st.integers(2, 300), st.data())
def test_all_integers_come_back_each_from_one_spike(steps, data):
    codec = build(f"latency_{steps}", 0)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 20))
    q = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(0, steps - 1)))
    assert (codec.lowest, codec.highest, codec.timesteps) == (0, steps - 1, steps)
    train = codec.to_spikes(q)
    assert np.all(train.counts() == 1)
    np.testing.assert_array_equal(codec.to_integers(train), q)


def test_the_larger_the_sooner_and_zero_is_the_last_step():
    dense = build("latency_4", 0).to_spikes(np.array([[3, 2, 1, 0]], np.int32)).to_dense()[:, 0]
    np.testing.assert_array_equal(dense, np.eye(4))


@pytest.mark.parametrize("spikes", [[], [0, 2], [1, 3], [0, 1, 2, 3]])
def test_a_neuron_without_a_spike_or_with_several_is_refused(spikes):
    codec = build("latency_4", 0)
    dense = codec.to_spikes(np.full((3, 10), 1, np.int32)).to_dense()
    dense[:, 2, 9] = 0
    dense[spikes, 2, 9] = 1
    with pytest.raises(UserError, match="latency_4: damaged codes: vector 2 has not one spike for dimension 9"):
        codec.to_integers(SpikeTrain.from_dense(dense))


def test_a_value_is_at_most_half_a_step_off():
    x = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    codec = build("latency_16", 0).fit(x)
    assert np.all(np.abs(codec.decode(codec.encode(x)) - x) <= np.abs(x).max(axis=0) / 15 + 1e-6)


def test_one_step_would_be_one_level():
    with pytest.raises(UserError, match="at least latency_2,"):
        build("latency_1", 0)
