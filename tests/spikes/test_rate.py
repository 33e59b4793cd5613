import numpy as np
import pytest

from pipeline.codec import build as build_codec
from pipeline.spikes.rate import build, fit_together
from pipeline.stage import UserError

LEVELS = np.linspace(-1, 1, 21, dtype=np.float32)


def table(rows):
    """Rows that are all different, since equal ones have equal spikes; dimension j is LEVELS[j], or all but so."""
    x = np.tile(LEVELS, (rows, 1)) + np.random.default_rng(0).uniform(-1e-4, 1e-4, (rows, 21)).astype(np.float32)
    return np.clip(x, -1, 1)


def fitted(steps, seed=0):
    return build(f"rate_{steps}", seed).fit(np.ones((1, 21), np.float32))


def check_statistics(dense):
    """Spikes [T, n, 21] of independent Bernoulli draws with p = (LEVELS + 1) / 2; five standard errors are allowed."""
    steps, rows, _ = dense.shape
    p = (LEVELS.astype(np.float64) + 1) / 2
    spread = p * (1 - p)
    assert np.all(np.abs(dense.mean(axis=(0, 1)) - p) <= 5 * np.sqrt(spread / (steps * rows)) + 1e-4)
    centred = dense - p
    for other in (np.roll(centred, 1, axis=0), np.roll(centred, 1, axis=1)):  # the step before, the vector before
        assert np.all(np.abs((centred * other).mean(axis=(0, 1))) <= 5 * spread / np.sqrt(steps * rows) + 1e-4)
    neighbour = (centred[:, :, 1:] * centred[:, :, :-1]).mean(axis=(0, 1))
    assert np.all(np.abs(neighbour) <= 5 * np.sqrt(spread[1:] * spread[:-1] / (steps * rows)) + 1e-4)
    counts = dense.sum(axis=0)
    np.testing.assert_allclose(counts[:, 1:-1].var(axis=0), (steps * spread)[1:-1], rtol=5 * np.sqrt(3 / rows))


def test_spikes_are_independent_and_as_frequent_as_the_value_says():
    codec = fitted(50)
    check_statistics(codec.spike_train(codec.encode(table(2000))).to_dense())


@pytest.mark.slow  # importing it takes four seconds
def test_the_statistics_are_those_of_snntorch():
    spikegen = pytest.importorskip("snntorch.spikegen")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = spikegen.rate(torch.tensor((table(2000) + 1) / 2), num_steps=50).numpy()
    check_statistics(theirs)
    codec = fitted(50)
    ours = codec.spike_train(codec.encode(table(2000))).to_dense()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.mean(axis=(0, 1)), theirs.mean(axis=(0, 1)), atol=5 * np.sqrt(0.5 / 100_000))


@pytest.mark.parametrize("steps", [4, 100])
def test_the_decoded_mean_is_right_and_the_error_is_the_stated_one(steps):
    x = table(1000)
    codec = fitted(steps)
    error = codec.decode(codec.encode(x)).astype(np.float64) - x
    p = (LEVELS.astype(np.float64) + 1) / 2
    stated = 2 * np.sqrt(p * (1 - p) / steps)
    assert np.all(np.abs(error.mean(axis=0)) <= 5 * stated / np.sqrt(1000) + 1e-4)
    rms = np.sqrt(np.square(error).mean(axis=0))
    np.testing.assert_allclose(rms[1:-1], stated[1:-1], rtol=0.15)
    assert np.all(rms <= 1.15 * 2 / (2 * np.sqrt(steps)))


def test_the_ends_are_certain():
    x = np.tile(np.array([[-1, 1]], np.float32), (30, 1))
    codec = build("rate_9", 0).fit(x)
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)
    np.testing.assert_array_equal(codec.decode(codec.encode(2 * x)), x)
    assert codec.outside(2 * x).all()
    assert not codec.outside(x).any()


def test_a_threshold_of_zero_is_not_below_a_chance_of_zero(monkeypatch):
    class Zeros:
        def random(self, shape, kind):
            return np.zeros(shape, kind)

    monkeypatch.setattr("pipeline.spikes.rate.generator", lambda seed, vector: Zeros())
    x = np.array([[-1, -0.99]], np.float32)
    codec = build("rate_9", 0).fit(np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(codec.stored_integers(codec.encode(x)), [[0, 9]])


def test_a_vector_has_the_same_spikes_alone_in_a_block_and_in_another_order():
    x = np.random.default_rng(1).standard_normal((40, 13)).astype(np.float32)
    codec = build("rate_17", 5).fit(x)
    whole = codec.encode(x)["spikes"]
    np.testing.assert_array_equal(codec.encode(x[7:8])["spikes"], whole[7:8])
    np.testing.assert_array_equal(codec.encode(x[::-1])["spikes"], whole[::-1])
    np.testing.assert_array_equal(np.concatenate([codec.encode(x[:9])["spikes"], codec.encode(x[9:])["spikes"]]), whole)
    assert len(np.unique(whole.reshape(40, -1), axis=0)) == 40


def test_another_seed_draws_anew():
    x = table(3)
    codes = [fitted(20, seed).encode(x)["spikes"] for seed in (0, 0, 1, 2**40)]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert all(np.any(codes[0] != other) for other in codes[2:])


def test_counts_are_not_the_integers():
    codec = fitted(100)
    x = table(50)
    np.testing.assert_array_equal(codec.integers(x)[0], np.rint(50 * (x[0] + 1)))
    found = codec.stored_integers(codec.encode(x))
    np.testing.assert_array_equal(found, codec.spike_train(codec.encode(x)).to_dense().sum(axis=0))
    assert 0.02 < (found == codec.integers(x))[:, 1:-1].mean() < 0.4


def test_values_beyond_the_range_are_refused_where_that_is_asked_for():
    x = np.ones((2, 3), np.float32)
    codec = fit_together(["rate_4"], 0, x, {"beyond": "refuse"})["rate_4"]
    codec.encode(x)
    message = r"vector 1: value 1\.5 of dimension 2 is outside of the calibrated range -1 to 1"
    with pytest.raises(UserError, match=message):
        codec.encode(np.array([[1, 1, 1], [1, 1, 1.5]], np.float32))


def test_names():
    assert build_codec("rate", "rate_100", 0).timesteps == 100
    with pytest.raises(UserError, match="at least rate_1,"):
        build("rate_0", 0)
