import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.temporal_sigma_delta import build
from pipeline.stage import UserError


@given(st.integers(1, 300), st.data())
def test_all_integers_come_back(steps, data):
    codec = build(f"temporal_sigma_delta_{steps}", 0)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 20))
    q = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-steps, steps)))
    assert (codec.lowest, codec.highest, codec.timesteps) == (-steps, steps, steps)
    np.testing.assert_array_equal(codec.to_integers(codec.to_spikes(q)), q)


def test_a_value_has_as_many_spikes_as_its_integer_is_large():
    q = np.arange(-40, 41, dtype=np.int32)[:, None]
    dense = build("temporal_sigma_delta_40", 0).to_spikes(q).to_dense()
    np.testing.assert_array_equal(np.abs(dense).sum(axis=0), np.abs(q))


@pytest.mark.parametrize("steps", [1, 2, 7, 8])
def test_the_sum_so_far_is_within_half_of_its_share(steps):
    q = np.arange(-steps, steps + 1, dtype=np.int32)[:, None]
    so_far = build(f"temporal_sigma_delta_{steps}", 0).to_spikes(q).to_dense().cumsum(axis=0)
    share = q * np.arange(1, steps + 1)[:, None, None] / steps
    assert np.abs(so_far - share).max() <= 0.5 + 1e-12


def test_the_mean_times_the_range_is_within_the_stated_error_of_the_value():
    x = np.random.default_rng(0).uniform(-3, 3, (400, 4)).astype(np.float32)
    codec = build("temporal_sigma_delta_10", 0).fit(x)
    reach = np.abs(x).max(axis=0)
    codes = codec.encode(x)
    mean = codec.spike_train(codes).to_dense().mean(axis=0) * reach
    np.testing.assert_allclose(codec.decode(codes), mean, atol=1e-6)
    assert np.all(np.abs(mean - x) <= reach / 20 + 1e-6)


def test_names_that_ask_for_the_impossible():
    with pytest.raises(UserError, match="at least temporal_sigma_delta_1,"):
        build("temporal_sigma_delta_0", 0)
    with pytest.raises(UserError, match="temporal_sigma_delta has no codec 'sigma_delta_r1_1024'"):
        build("sigma_delta_r1_1024", 0)
