import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.spikes import planes
from pipeline.spikes.staggered import build
from pipeline.stage import UserError


@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_all_integers_come_back_one_spike_for_each_unit(population, steps, data):
    codec = build(f"staggered_{population}x{steps}", 0)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 9))
    q = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(0, population * steps)))
    assert (codec.lowest, codec.highest, codec.timesteps) == (0, population * steps, steps)
    train = codec.to_spikes(q)
    assert train.neurons == q.shape[1] * population
    assert train.spikes == q.sum()
    np.testing.assert_array_equal(codec.to_integers(train), q)


def test_all_of_eight_bits_in_sixteen_neurons_and_steps():
    codec = build("staggered_16x16_8", 0)
    assert codec.highest == 255
    q = np.arange(256, dtype=np.int32).reshape(32, 8)
    np.testing.assert_array_equal(codec.to_integers(codec.to_spikes(q)), q)


@pytest.mark.parametrize("population", [8, 16])
def test_spikes_looked_up_by_level_are_those_that_neurons_fire(population):
    codec = build(f"staggered_{population}x5", 0)
    levels = codec.highest + 1
    q = np.random.default_rng(0).integers(0, levels, (200, 3), dtype=np.int32)
    assert q.size > 4 * levels  # else they are not looked up
    np.testing.assert_array_equal(codec.to_spikes(q).packed, codec._fired(q).packed)
    for other in (-1, levels):
        q[7, 1] = other
        with pytest.raises(ValueError, match=f"expected 0 to {levels - 1}"):
            codec.to_spikes(q)


def test_sixteen_bits():
    codec = build("staggered_256x256_16", 0)
    q = np.array([[0, 1, 2**15, 2**16 - 1, 54321]], np.int32)
    np.testing.assert_array_equal(codec.to_integers(codec.to_spikes(q)), q)


@pytest.mark.parametrize(("population", "steps"), [(1, 7), (7, 1), (4, 6), (5, 3)])
def test_hermites_identity_holds_in_every_step_and_for_each_neuron(population, steps):
    q = np.arange(population * steps + 1, dtype=np.int32)[:, None]
    dense = build(f"staggered_{population}x{steps}", 0).to_spikes(q).to_dense()
    so_far = dense.cumsum(axis=0)
    for t in range(1, steps + 1):
        np.testing.assert_array_equal(so_far[t - 1].sum(axis=1), q[:, 0] * t // steps)
        for k in range(population):  # floor(t x + k / P), x = q / (P T)
            expected = (t * q[:, 0] + k * steps) // (population * steps)
            np.testing.assert_array_equal(so_far[t - 1, :, k], expected)


@pytest.mark.parametrize("population", [2, 3, 16])
def test_without_a_neuron_the_estimate_is_at_most_one_level_off(population):
    codec = build(f"staggered_{population}x10", 0)
    q = np.arange(10 * population + 1, dtype=np.int32).repeat(2).reshape(-1, 2)
    worst = 0.0
    for lost in range(population):
        error = np.abs(codec.estimates(codec.to_spikes(q), lost) - q)
        assert error.max() <= 1 + 1e-9
        worst = max(worst, error.max())
    assert worst == pytest.approx(1)  # so the bound is tight
    with pytest.raises(IndexError):
        codec.estimates(codec.to_spikes(q), population)


def test_a_value_is_at_most_half_a_step_off():
    x = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    codec = build("staggered_4x4_4", 0).fit(x)
    codes = codec.encode(x)
    assert codes["spikes"].shape == (300, 4, 2)  # 12 neurons
    assert np.all(np.abs(codec.decode(codes) - x) <= np.abs(x).max(axis=0) / 15 + 1e-6)


def test_search_by_the_counts_of_each_values_neurons_is_that_of_the_integers():
    rng = np.random.default_rng(0)
    x, queries = (rng.uniform(-1, 1, (count, 5)).astype(np.float32) for count in (300, 20))
    codec = build("staggered_4x4", 0).fit(x)
    assert codec.searches == ("counts",)
    asked, q = codec.integers(queries).astype(np.int64), codec.integers(x).astype(np.int64)
    distances = np.square(asked[:, None] - q[None]).sum(axis=2)
    found = codec.searcher("counts", codec.encode(x))(queries, 10)
    np.testing.assert_array_equal(np.take_along_axis(distances, found, 1), np.sort(distances, axis=1)[:, :10])


def test_blocks_change_nothing(monkeypatch):
    codec = build("staggered_3x5", 0)
    q = np.random.default_rng(0).integers(0, 16, (40, 7)).astype(np.int32)
    train = codec.to_spikes(q)
    monkeypatch.setattr(planes, "BLOCK", 50)
    np.testing.assert_array_equal(codec.to_spikes(q).packed, train.packed)
    np.testing.assert_array_equal(codec.to_integers(train), q)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("staggered_16x15_8", "at least 255, not 240: staggered_16x16_8 or staggered_17x15_8"),
        ("staggered_1x4096_16", "at least 65535, not 4096: staggered_16x4096_16"),
        ("staggered_16x16_17", "17 bits; 16 are the most"),
        ("staggered_64x4096", "at most 131072 neurons x timesteps, 4096 timesteps"),
        ("staggered_1x4097", "at most 131072 neurons x timesteps, 4096 timesteps"),
        ("staggered_0x4", "its names are staggered_<neurons>x<timesteps>"),
        ("staggered_4", "its names are staggered_<neurons>x<timesteps>"),
    ],
)
def test_names_that_ask_for_the_impossible(name, message):
    with pytest.raises(UserError, match=message):
        build(name, 0)


@given(st.integers(1, 16), st.integers(1, 300), st.integers(1, 300))
def test_what_a_refusal_names_would_do(bits, population, steps):
    try:
        build(f"staggered_{population}x{steps}_{bits}", 0)
        assert population * steps >= 2**bits - 1
    except UserError as error:
        assert population * steps < 2**bits - 1
        for name in str(error).rpartition(": ")[2].split(" or "):
            build(name, 0)
