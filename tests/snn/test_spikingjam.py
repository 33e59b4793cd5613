import subprocess
import sys

import numpy as np
import pytest

from pipeline.codec import NotApplicableError, load, save
from pipeline.neurons import integrate_fire
from pipeline.snn import axes, firing, phase_neurons, phase_readout, spikingjam
from pipeline.snn.spikingjam import build, fit_together
from pipeline.spikes import staggered
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


def mixed(rows, seed=0, dims=12):
    """Unit rows of few active sources out of many: other axes than the principal ones are sparse."""
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((rows, dims)) * (rng.random((rows, dims)) < 0.25) * np.linspace(1, 0.7, dims)
    x = sources @ np.linalg.qr(np.random.default_rng(9).standard_normal((dims, dims)))[0] + 0.3
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def error(codec, x):
    return np.square(codec.decode(codec.encode(x)) - x, dtype=np.float64).sum() / np.square(x - x.mean(axis=0)).sum()


@pytest.fixture(scope="module")
def fitted():
    names = [f"spikingjam_16_{budget}" for budget in ("0.5", "1", "2")]
    return fit_together(names, 0, mixed(1000), {})


# --- exact ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["16x16_8", "3x90_8", "51x5_8"])
def test_all_integers_of_unseen_rows_come_back(name):
    codec = build(f"spikingjam_exact_{name}", 0).fit(mixed(200))
    unseen = np.concatenate([mixed(100, seed=1), np.linspace(-1, 1, 12 * 64, dtype=np.float32).reshape(64, 12)])
    np.testing.assert_array_equal(codec.stored_integers(codec.encode(unseen)), codec.integers(unseen))


def test_its_spikes_are_those_of_integrate_and_fire_whose_membrane_stays_in_bounds():
    q = np.arange(256, dtype=np.int32)[:, None]
    codec = build("spikingjam_exact_16x16_8", 0)
    train = codec.to_spikes(q)
    state = integrate_fire.started(np.tile(np.arange(16) * 16, (256, 1)).astype(np.int64))
    for step in range(16):
        state, spikes = integrate_fire.step(state, q.astype(np.int64), 256)
        np.testing.assert_array_equal(train.plane(step), spikes)
        assert 0 <= state.potential.min() <= state.potential.max() < 256
    plain = staggered.build("staggered_16x16_8", 0).to_spikes(q)
    np.testing.assert_array_equal(train.packed, plain.packed)


def test_circular_shifts_keep_the_counts_and_others_do_not():
    spikes = (np.random.default_rng(0).random((50, 9, 7 * 2)) < 0.3).astype(np.uint8)  # [n, T, values x P]
    shifts = np.array([0, 1, 3, 4, 5, 7, 8])
    read = phase_readout.shifted(np.packbits(spikes, axis=2), phase_readout.heads(shifts, 14))
    found = np.unpackbits(read, axis=2, count=14)
    expected = np.stack([np.roll(spikes[:, :, j], -shifts[j % 7], axis=1) for j in range(14)], axis=2)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found.sum(axis=1), spikes.sum(axis=1))
    cut = sum(spikes[:, shifts[j % 7] :, j].sum(axis=1) for j in range(14))
    assert (cut < spikes.sum(axis=(1, 2))).all()


# --- learned --------------------------------------------------------------------------------------------------------


def test_it_keeps_its_budget_and_more_spikes_are_nearer(fitted):
    unseen, errors = mixed(400, seed=1), []
    for name, codec in fitted.items():
        spikes = codec.spike_train(codec.encode(unseen)).spikes_per_value(12)
        assert spikes == pytest.approx(float(name.rpartition("_")[2]), rel=0.1)
        errors.append(error(codec, unseen))
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_training_lowers_the_error_of_unseen_rows(fitted):
    plain = fit_together(["spikingjam_16_1"], 0, mixed(1000), {"steps": 0})["spikingjam_16_1"]
    unseen = mixed(400, seed=1)
    assert error(fitted["spikingjam_16_1"], unseen) < 0.9 * error(plain, unseen)
    turned = fitted["spikingjam_16_1"].shared["rotation"]
    np.testing.assert_allclose(turned.T @ turned, np.eye(12), atol=1e-5)


def test_training_is_begun_only_where_a_step_helps_rows_that_it_has_not_seen():
    sparse, plain = mixed(1000), np.random.default_rng(0).standard_normal((1000, 12)).astype(np.float32)
    for x, expected in ((sparse, True), (plain * np.linspace(1, 0.1, 12, dtype=np.float32), False)):
        rows = axes.centred(x, "x")
        held, others = axes.parts(rows, 0)
        principal = axes.principal(rows)
        turned = axes.turned(others, principal, 0.1)
        np.testing.assert_allclose(turned.T @ turned, np.eye(12), atol=1e-5)
        assert axes.surrogate(others @ turned, 0.1) < axes.surrogate(others @ principal, 0.1)
        assert axes.helps(others, held, principal, 0.1) == expected
    np.testing.assert_array_equal(spikingjam.rotation(x, 16, 0, "x", 10), principal)


def test_without_attention_what_is_read_is_what_resets_took_away():
    y = np.random.default_rng(0).standard_normal((300, 5))
    neurons = phase_neurons.phases(np.abs(y).max(axis=0), 0.1, 16)
    read = phase_readout.read(phase_neurons.fire(y, neurons), neurons.weight, np.zeros((16, 16)))
    assert np.abs(y - read).max() < 0.8 * 0.1 + 1e-9  # the dead zone


def test_the_potential_is_bounded_and_thresholds_fall():
    neurons = phase_neurons.phases(np.ones(2), 0.1, 8)
    np.testing.assert_array_equal(*(phase_neurons.fire(np.full((1, 2), y), neurons).packed for y in (1.0, 50.0)))
    assert (np.diff(neurons.threshold, axis=0) < 0).all()
    silent = phase_neurons.phases(np.array([0.07]), 0.1, 8)
    assert not phase_neurons.fire(np.array([[0.07]]), silent).spikes


def test_a_neuron_fires_as_its_equations_say():
    y = np.random.default_rng(1).standard_normal((50, 9)) ** 3
    neurons = phase_neurons.phases(np.abs(y).max(axis=0), 0.2, 6)
    u, found = y.copy(), phase_neurons.fire(y, neurons)
    for t in range(6):
        spikes = np.sign(u) * (np.abs(u) >= neurons.threshold[t])
        u -= neurons.weight[t] * spikes
        np.testing.assert_array_equal(found.plane(t), spikes)


def test_attention_is_read_as_its_equation_says_and_solved_for_least_squares():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 4)) ** 3
    neurons = phase_neurons.phases(np.abs(y).max(axis=0), 0.4, 6)
    train = phase_neurons.fire(y, neurons)
    spikes = phase_readout.by_neuron(train)
    attention = rng.standard_normal((6, 6))
    expected = np.zeros_like(y)
    for t in range(6):
        gain = 1 + sum(attention[t, phi] * np.abs(spikes[:, :, (t + phi) % 6]) for phi in range(6))
        expected += neurons.weight[t] * spikes[:, :, t] * gain
    np.testing.assert_allclose(phase_readout.read(train, neurons.weight, attention), expected, atol=1e-9)
    solved = phase_readout.solve(train, neurons.weight, y)

    def left(c):
        return np.square(y - phase_readout.read(train, neurons.weight, c)).sum()

    assert left(solved) < 0.95 * left(np.zeros((6, 6)))
    moved = [solved + 0.05 * rng.standard_normal((6, 6)) for _ in range(20)]
    assert left(solved) < min(map(left, moved))


def test_saved_it_decodes_as_before_and_naming_it_does_not_import_torch(fitted, tmp_path):
    codec, x = fitted["spikingjam_16_1"], mixed(20, seed=2)
    save(codec, "spikingjam", tmp_path / "one.safetensors", {"seed": 0})
    again = load(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(again.decode(again.encode(x)), codec.decode(codec.encode(x)))
    code = "from pipeline import codec; codec.build('spikingjam', 'spikingjam_16_2', 0); import sys"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("spikingjam_0_1", "2 timesteps at least"),
        ("spikingjam_65_1", "64 at most"),
        ("spikingjam_16_0", "above 0 and below the 16"),
        ("spikingjam_4_4", "above 0 and below the 4"),
        ("spikingjam_16_0.50", "spikingjam has no codec"),
        ("spikingjam_4x0_1", "2 timesteps at least"),
        ("spikingjam_4x4_4", "above 0 and below the 4"),
        ("spikingjam_1x4_1", "2 to 16 neurons a value"),
        ("spikingjam_17x4_1", "2 to 16 neurons a value"),
        ("spikingjam_exact_16x0_8", "staggered has no codec"),
        ("spikingjam_exact_15x16_8", "neurons x timesteps of at least 255, not 240"),
    ],
)
def test_names_that_there_are_not(name, why):
    with pytest.raises(UserError, match=why):
        build(name, 0)


def test_a_dead_layer_is_said_and_leaves_out_no_other_codec():
    with pytest.raises(NotApplicableError, match=r"spikingjam_16_1: layer of 3 neurons: none fires, for all rows"):
        build("spikingjam_16_1", 0).fit(np.full((20, 3), 0.25, np.float32))
    names = ["spikingjam_exact_4x4_4", "spikingjam_16_0.00001", "spikingjam_2x4_0.00001"]
    exact, *dead = fit_together(names, 0, mixed(100), {"steps": 0}).values()
    assert isinstance(exact, spikingjam.Exact)
    for neurons, name, error in zip((12, 24), names[1:], dead, strict=True):
        assert str(error) == f"{name}: layer of {neurons} neurons, 1e-05 spikes a value: no neuron fired"


@pytest.mark.parametrize("name", ["spikingjam_16_0.00001", "spikingjam_2x4_0.00001"])
def test_a_dead_layer_stops_or_is_rescued(name, caplog):
    with pytest.raises(UserError, match=f"{name}: layer of .* no neuron fired; `dead_layers: rescue` moves"):
        fit_together([name], 0, mixed(100), {"steps": 0, "dead_layers": "stop"})
    codec = fit_together([name], 0, mixed(100), {"steps": 0, "dead_layers": "rescue"})[name]
    assert codec.spike_train(codec.encode(mixed(100))).spikes > 0
    assert "no neuron fired; its thresholds are moved" in caplog.text


def test_a_saturated_layer_is_said():
    def fire(threshold):
        rate = 0.99 if threshold < 1 else 0.5
        return SpikeTrain(np.packbits(np.random.default_rng(0).random((1, 2, 800)) < rate, axis=2), 800)

    with pytest.raises(NotApplicableError, match=r"layer x: 99% of all neurons and steps fired"):
        firing.settled("layer x", 0.4, fire, "warn")
    assert firing.settled("layer x", 0.4, fire, "rescue") == pytest.approx(0.4 / 0.7**3)


def test_codes_of_another_table_and_options_that_there_are_not(fitted):
    other = fit_together(["spikingjam_16_1"], 0, mixed(100, dims=20), {"steps": 0})["spikingjam_16_1"]
    with pytest.raises(UserError, match="spikingjam_16_1: codes of another codec"):
        fitted["spikingjam_16_1"].decode(other.encode(mixed(5, dims=20)))
    with pytest.raises(UserError, match="spikingjam"):
        fit_together(["spikingjam_16_1"], 0, mixed(100), {"colour": 1})
    with pytest.raises(UserError, match="dead_layers must be one of stop, rescue, warn, not 'ignore'"):
        fit_together(["spikingjam_16_1"], 0, mixed(100), {"dead_layers": "ignore"})
    with pytest.raises(UserError, match="steps must be a whole number of at least 0, not -1"):
        fit_together(["spikingjam_16_1"], 0, mixed(100), {"steps": -1})


def test_the_rotation_is_the_same_for_the_same_seed():
    one, two = (spikingjam.rotation(mixed(200), 16, 3, "x", 10) for _ in range(2))
    np.testing.assert_array_equal(one, two)
