import tracemalloc

import numpy as np
import pytest

from pipeline.codec import Codes
from pipeline.neurons import integrate_fire
from pipeline.spikes import population
from pipeline.spikes.calibration import Choice
from pipeline.spikes.population import CUT, START, THRESHOLD, activity, build
from pipeline.stage import UserError


def rows(count, dims=5, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)
    return x / np.abs(x).max()


def fitted(name, x=None):
    return build(name, 0).fit(rows(400) if x is None else x)


def spikes(codec, x):
    """[T, n, d, P] of x float32 [n, d]"""
    dense = codec.spike_train(codec.encode(x)).to_dense()
    return dense.reshape(codec.timesteps, len(x), x.shape[1], -1)


def fractions(codec, x):
    return np.clip((x - codec.shared["zero"]) / codec.shared["step"], 0, 1)


def relative_mse(name, x, fit):
    codec = fitted(name, fit)
    return ((codec.decode(codec.encode(x)) - x) ** 2).sum() / ((x - fit.mean(axis=0)) ** 2).sum()


def test_tuning_curves_are_gaussians_on_even_centres():
    u = np.linspace(0, 1, 50, dtype=np.float32)
    for neurons in (2, 7, 100):
        centres, spread = np.linspace(0, 1, neurons), 0.75 / (neurons - 1)
        expected = np.exp(-((u[:, None].astype(np.float64) - centres) ** 2) / (2 * spread**2))
        np.testing.assert_allclose(activity(u, neurons), expected, atol=2e-5)
        assert activity(u, neurons).dtype == np.float32


@pytest.mark.parametrize("name", ["population_7_16", "population_2_1", "population_33_100"])
def test_rates_are_spike_for_spike_those_of_integrate_and_fire_neurons(name):
    codec, x = fitted(name), rows(20, seed=1)
    drive = np.rint(activity(fractions(codec, x), codec.population) * THRESHOLD).astype(np.int64)
    state, found = integrate_fire.started(np.full(drive.shape, START)), spikes(codec, x)
    assert found.any()
    for step in range(codec.timesteps):
        state, fired = integrate_fire.step(state, drive, THRESHOLD)
        np.testing.assert_array_equal(found[step], fired)
    np.testing.assert_array_equal(found.sum(axis=0), np.floor(codec.timesteps * drive / THRESHOLD + 0.5))


@pytest.mark.parametrize("name", ["population_7_16_latency", "population_2_2_latency", "population_33_100_latency"])
def test_latencies_are_spike_for_spike_those_of_neurons_that_charge_by_one_a_step(name):
    codec, x = fitted(name), rows(20, seed=1)
    a, last = activity(fractions(codec, x), codec.population), codec.timesteps - 1
    state, found = integrate_fire.waiting(np.rint(a * last).astype(np.int64)), spikes(codec, x)
    for step in range(codec.timesteps):
        state, fired = integrate_fire.first_spike(state, np.int64(1), codec.timesteps)
        np.testing.assert_array_equal(found[step], fired * (a >= CUT))
    np.testing.assert_array_equal(found.sum(axis=0), a >= CUT)
    came = np.abs(found.argmax(axis=0) - (1 - a) * last)
    assert came[a >= CUT].max() <= 0.5 + 1e-5


@pytest.mark.parametrize("name", ["population_7_16", "population_7_16_latency"])
def test_the_decoder_is_linear_in_counts_or_in_how_early_spikes_are(name):
    codec, x = fitted(name), rows(20, seed=1)
    early = codec.timesteps - np.arange(codec.timesteps) if codec.latency else np.ones(codec.timesteps)
    read = np.einsum("tnjp,t->njp", spikes(codec, x), early)
    np.testing.assert_array_equal(codec.responses(fractions(codec, x)), read)
    u = read @ codec.shared["weights"] + codec.shared["bias"]
    np.testing.assert_allclose(
        codec.decode(codec.encode(x)), codec.shared["zero"] + u * codec.shared["step"], atol=1e-5
    )
    assert codec.shared["weights"].nbytes == 4 * 7  # whatever the number of dimensions


@pytest.mark.parametrize("kind", ["", "_latency"])
def test_the_error_falls_with_neurons_and_with_steps(kind):
    x, fit = rows(300, seed=1) / 2, rows(600)  # inside of the range
    by_neurons = [relative_mse(f"population_{neurons}_64{kind}", x, fit) for neurons in (4, 8, 16)]
    assert by_neurons[0] > 2 * by_neurons[1] > 4 * by_neurons[2]
    by_steps = [relative_mse(f"population_32_{steps}{kind}", x, fit) for steps in (4, 16, 64)]
    assert by_steps[0] > 2 * by_steps[1] > 4 * by_steps[2]
    assert by_steps[2] < 1e-3


def test_the_decoder_suits_values_and_knows_the_ends_of_the_range():
    fit = np.concatenate([np.full((500, 1), 0.25, np.float32), np.full((1, 1), -1, np.float32)])
    codec = fitted("population_40_50", fit)
    decoded = codec.decode(codec.encode(np.array([[1], [0.25], [-1]], np.float32)))
    np.testing.assert_allclose(decoded, [[1], [0.25], [-1]], atol=0.1)
    assert abs(decoded[1, 0] - 0.25) < 0.005


@pytest.mark.parametrize("name", ["population_4_16", "population_4_16_latency"])
def test_the_decoder_is_best_where_fit_values_are(name):
    asked, near, ends = rows(500, seed=1) / 20 + 0.5, rows(500) / 20 + 0.5, np.ones((1, 5), np.float32)
    for_near, for_all = (fitted(name, np.concatenate([fit, ends])) for fit in (near, rows(500)))
    one, other = (((codec.decode(codec.encode(asked)) - asked) ** 2).mean() for codec in (for_near, for_all))
    assert one < 0.7 * other


def test_spikes_do_not_grow_with_neurons():
    x = rows(200, seed=1)
    for kind, expected in (("_16", 1.88 * 16), ("_16_latency", 3.67)):
        for neurons in (16, 200):
            codec = fitted(f"population_{neurons}{kind}")
            assert codec.spike_train(codec.encode(x)).spikes / x.size == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", ["population_300_100", "population_300_100_latency"])
def test_memory_is_bounded_by_blocks(name, monkeypatch):
    codec, x = fitted(name, rows(50, 16)), rows(60, 16, seed=1)
    whole = codec.encode(x)  # compiled
    monkeypatch.setattr(population, "BLOCK_BYTES", 2**20)
    tracemalloc.start()
    codes = codec.encode(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole.nbytes > 3 * 2**20
    assert peak < whole.nbytes + 1.5 * 2**20
    np.testing.assert_array_equal(codes["spikes"], whole["spikes"])


def test_values_beyond_the_range_are_clipped_or_refused_as_configured():
    x = rows(50)
    (clipped,) = population.fit_together(["population_8_16"], 0, x, {}).values()
    beyond = np.concatenate([x[:1], 2 * np.abs(x).max(axis=0, keepdims=True)])
    edge = np.minimum(beyond, np.abs(x).max(axis=0))
    np.testing.assert_array_equal(clipped.encode(beyond)["spikes"], clipped.encode(edge)["spikes"])
    assert clipped.outside(beyond).sum(axis=1).tolist() == [0, 5]
    (refusing,) = population.fit_together(["population_8_16"], 0, x, {"beyond": "refuse"}).values()
    assert refusing.chosen == Choice(beyond="refuse")
    with pytest.raises(UserError, match=r"vector 1: value .* of dimension 0 is outside of the calibrated range"):
        refusing.encode(beyond)


def test_a_constant_dimension_comes_back():
    x = rows(50)
    x[:, 2] = 0
    codec = fitted("population_8_16", x)
    assert np.abs(codec.decode(codec.encode(x))[:, 2]).max() == 0


def test_codes_of_another_code_are_refused():
    codec, other = fitted("population_8_16"), fitted("population_16_16")
    with pytest.raises(UserError, match="population_8_16: codes of another codec or dimension"):
        codec.decode(other.encode(rows(3)))
    with pytest.raises(UserError, match="codes of another codec"):
        codec.decode(Codes({"bits": np.zeros((3, 16, 5), np.uint8)}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("population_1_16", "a value has 2 neurons at least"),
        ("population_2501_16", "2500 at most"),
        ("population_8_1_latency", "it takes 2 steps at least"),
        ("population_8_101", "100 at most"),
        *((f"population_{wrong}", "its names are") for wrong in ("08_16", "8_016", "8", "8_16_rate", "٣_16")),
    ],
)
def test_other_names_are_refused_with_the_least_that_would_do(name, message):
    with pytest.raises(UserError, match=message):
        build(name, 0)
