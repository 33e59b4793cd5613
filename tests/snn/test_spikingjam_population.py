import numpy as np
import pytest

from pipeline.codec import load, save
from pipeline.snn import phase_readout, population_neurons, population_training
from pipeline.snn.spikingjam import build, fit_together
from pipeline.spikes.train import SpikeTrain


def drawn(rows, dims=20, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, dims)) * np.linspace(1, 0.3, dims)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def error(codec, x):
    return np.square(codec.decode(codec.encode(x)) - x, dtype=np.float64).sum() / np.square(x - x.mean(axis=0)).sum()


def spikes(codec, x):
    return codec.spike_train(codec.encode(x)).spikes_per_value(x.shape[1])


@pytest.fixture(scope="module")
def fitted():
    names = ["spikingjam_16_0.5", "spikingjam_4x4_0.5", "spikingjam_4x8_1"]
    return fit_together(names, 0, drawn(1500), {"steps": 0}) | {
        f"learned_{name}": codec for name, codec in fit_together(names[1:], 0, drawn(1500), {}).items()
    }


def by_definition(drive, directions, weight, threshold):
    """Spikes [M, T] of one drive, from the residual itself."""
    found = np.zeros((len(directions), len(weight)), np.int8)
    residual = drive.astype(np.float64)
    for t in range(len(weight)):
        while True:
            u = np.where(found[:, t] == 0, directions @ residual, 0)
            who = np.abs(u).argmax()
            if abs(u[who]) < threshold[t]:
                break
            found[who, t] = np.sign(u[who])
            residual -= weight[t] * found[who, t] * directions[who]
    return found


def test_neurons_fire_as_the_equations_say():
    rng = np.random.default_rng(0)
    drive, directions = rng.standard_normal((40, 5)), rng.standard_normal((15, 5))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weight = population_neurons.geometric(np.array([3.0]), 0.2, 4)[0]
    packed = np.zeros((2, 40, 4, 3), np.uint8)
    found = population_neurons.fire(drive, directions, weight, 0.2, packed, 3)
    train = SpikeTrain(packed[0], 24, packed[1])
    dense = phase_readout.by_neuron(train)
    assert not dense[:, :3].any()
    assert not dense[:, 18:].any()
    theta = population_neurons.thresholds(weight, 0.2)
    expected = np.stack([by_definition(one, directions, weight, theta) for one in drive])
    np.testing.assert_array_equal(dense[:, 3:18], expected)
    np.testing.assert_allclose(found.amplitude, expected @ weight, rtol=1e-5)
    np.testing.assert_array_equal(found.spikes, np.abs(expected).sum(axis=(0, 1)))
    assert theta[-1] == 0.2
    assert weight[0] == pytest.approx(3.0)
    assert weight[-1] == pytest.approx(0.2 / population_neurons.LAST)


def test_more_neurons_are_nearer_at_as_many_spikes_and_slots(fitted):
    unseen = drawn(500, seed=1)
    one, four = fitted["spikingjam_16_0.5"], fitted["spikingjam_4x4_0.5"]
    assert one.neurons * one.timesteps == four.neurons * four.timesteps
    assert spikes(four, unseen) < 1.03 * spikes(one, unseen)
    assert error(four, unseen) < 0.75 * error(one, unseen)


@pytest.mark.parametrize("name", ["spikingjam_4x4_0.5", "spikingjam_4x8_1"])
def test_it_keeps_its_budget_and_learning_lowers_the_error_of_unseen_rows(fitted, name):
    unseen, plain, learned = drawn(500, seed=1), fitted[name], fitted[f"learned_{name}"]
    assert spikes(learned, unseen) == pytest.approx(float(name.rpartition("_")[2]), rel=0.05)
    assert spikes(learned, unseen) < 1.02 * spikes(plain, unseen)
    assert error(learned, unseen) < 0.98 * error(plain, unseen)
    assert not plain.shared["decoder_attention"].any()
    assert learned.shared["decoder_attention"].any()


def test_attention_is_solved_for_least_squares(fitted):
    codec, x = fitted["learned_spikingjam_4x4_0.5"], drawn(1500)
    y = (x - codec.shared["mean"]) @ codec.shared["rotation"]
    train = codec.spike_train(codec.encode(x))

    def left(c):
        return np.square(y - codec.directed(phase_readout.read(train, codec.weights, c))).sum()

    solved = codec.attention(train, y)
    assert left(solved) < left(np.zeros((4, 4)))
    rng = np.random.default_rng(0)
    assert left(solved) < min(left(solved + 0.02 * rng.standard_normal((4, 4))) for _ in range(10))


@pytest.mark.parametrize("dims", [1, 16, 17, 40])
def test_groups_hold_all_values_in_equal_parts(dims):
    found = population_training.groups(dims)
    assert [i for some in found for i in range(dims)[some]] == list(range(dims))
    sizes = [some.stop - some.start for some in found]
    assert max(sizes) <= 16
    assert max(sizes) - min(sizes) <= 1


def test_a_round_that_does_not_help_held_out_rows_is_not_kept(monkeypatch):
    y = drawn(300)
    plain = population_training.fit(y, 2, 4, 0.5, 0, rounds=0)
    worse = plain._replace(directions=tuple(np.ones_like(one) / 4 for one in plain.directions))
    monkeypatch.setattr(population_training, "learned", lambda *_: worse)
    kept = population_training.fit(y, 2, 4, 0.5, 0, rounds=2)
    np.testing.assert_array_equal(kept.directions[0], plain.directions[0])


def test_saved_it_decodes_as_before_and_is_the_same_for_the_same_seed(fitted, tmp_path):
    codec, x = fitted["learned_spikingjam_4x4_0.5"], drawn(20, seed=2)
    save(codec, "spikingjam", tmp_path / "one.safetensors", {"seed": 0})
    again = load(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(again.decode(again.encode(x)), codec.decode(codec.encode(x)))
    same = build("spikingjam_4x4_0.5", 0).fit(drawn(1500))
    for name, array in codec.shared.items():
        np.testing.assert_array_equal(same.shared[name], array)
