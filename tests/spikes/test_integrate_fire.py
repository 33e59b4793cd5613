import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes.integrate_fire import build
from pipeline.stage import UserError


@given(st.integers(1, 300), st.data())
def test_all_integers_come_back(steps, data):
    codec = build(f"integrate_fire_{steps}", 0)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 20))
    q = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(0, steps)))
    assert (codec.lowest, codec.highest, codec.timesteps) == (0, steps, steps)
    np.testing.assert_array_equal(codec.to_integers(codec.to_spikes(q)), q)


def test_a_value_has_as_many_spikes_as_its_integer_is_large():
    q = np.arange(0, 41, dtype=np.int32)[:, None]
    dense = build("integrate_fire_40", 0).to_spikes(q).to_dense()
    np.testing.assert_array_equal(np.abs(dense).sum(axis=0), np.abs(q))


@pytest.mark.parametrize("steps", [1, 2, 15, 16])
def test_the_count_so_far_is_within_half_of_its_share(steps):
    q = np.arange(steps + 1, dtype=np.int32)[:, None]
    so_far = build(f"integrate_fire_{steps}", 0).to_spikes(q).to_dense().cumsum(axis=0)
    share = q * np.arange(1, steps + 1)[:, None, None] / steps
    assert np.abs(so_far - share).max() <= 0.5 + 1e-12


def test_a_value_is_at_most_half_a_step_off():
    x = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    codec = build("integrate_fire_15", 0).fit(x)
    reach = np.abs(x).max(axis=0)
    assert np.all(np.abs(codec.decode(codec.encode(x)) - x) <= reach / 15 + 1e-6)


def test_names_that_ask_for_the_impossible():
    with pytest.raises(UserError, match="at least integrate_fire_1,"):
        build("integrate_fire_0", 0)
    with pytest.raises(UserError, match="integrate_fire has no codec 'integrate_fire'"):
        build("integrate_fire", 0)


def test_neighbours_by_counts_are_those_of_the_integers():
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    codec = build("integrate_fire_255", 0).fit(x)
    q = codec.integers(x).astype(float)
    expected = np.square(q[:5, None] - q).sum(axis=2).argsort(axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(codec.searcher("counts", codec.encode(x))(x[:5], 3), expected)
