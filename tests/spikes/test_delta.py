import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.delta import build
from pipeline.stage import UserError

ONE = np.ones((1, 1), np.float32)


@given(st.integers(1, 300), st.data())
def test_all_integers_come_back(steps, data):
    codec = build(f"delta_{steps}", 0)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 20))
    q = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-steps, steps)))
    assert (codec.lowest, codec.highest, codec.timesteps) == (-steps, steps, steps)
    np.testing.assert_array_equal(codec.to_integers(codec.to_spikes(q)), q)


def test_a_value_has_as_many_spikes_as_its_integer_is_large():
    q = np.arange(-40, 41, dtype=np.int32)[:, None]
    dense = build("delta_40", 0).to_spikes(q).to_dense()
    np.testing.assert_array_equal(np.abs(dense).sum(axis=0), np.abs(q))


def test_events_have_one_sign_and_end_when_the_value_is_reached():
    dense = build("delta_4", 0).to_spikes(np.array([[3, -2, 0, 4, -4]], np.int32)).to_dense()[:, 0]
    assert dense.T.tolist() == [[1, 1, 1, 0], [-1, -1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [-1, -1, -1, -1]]


def test_a_value_is_at_most_half_a_step_off_and_what_is_beyond_is_clipped():
    x = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    codec = build("delta_7", 0).fit(x)
    reach = np.abs(x).max(axis=0)
    assert np.all(np.abs(codec.decode(codec.encode(x)) - x) <= reach / 14 + 1e-6)
    np.testing.assert_allclose(codec.decode(codec.encode(5 * ONE.repeat(3, axis=1)))[0], reach, rtol=1e-6)


def test_names_that_ask_for_the_impossible():
    with pytest.raises(UserError, match="at least delta_1,"):
        build("delta_0", 0)
    with pytest.raises(UserError, match="delta has no codec 'sigma_delta_4'"):
        build("sigma_delta_4", 0)
