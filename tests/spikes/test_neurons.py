"""Neurons really produce the codes: the dynamics, step by step, against what the encoders make, spike for spike."""

import numpy as np
import pytest

from pipeline.codec import build
from pipeline.neurons import integrate_fire
from pipeline.neurons.integrate_fire import doubling, first_spike, non_adjacent, signed, started, waiting
from pipeline.spikes.rate import generator


def ran(neuron, state, steps, *inputs):
    """Spikes int8 [steps, n, P] of neurons that have the same input in each step."""
    spikes = []
    for _ in range(steps):
        state, fired = neuron(state, *inputs)
        spikes.append(fired)
    return np.stack(spikes)


def integrate_and_fire(codec, q):
    steps = codec.timesteps
    return ran(integrate_fire.step, started(np.full_like(q, steps // 2)), steps, q, steps)


def time_to_first_spike(codec, q):
    return ran(first_spike, waiting(q), codec.timesteps, np.ones_like(q), codec.timesteps)


def tracking_error(codec, q):
    return ran(signed, started(q), codec.timesteps, np.zeros_like(q), 1)


def modulator(codec, q):
    return ran(signed, started(np.zeros_like(q)), codec.timesteps, q, codec.timesteps)


def population(codec, q):
    neurons, steps = codec.population, codec.timesteps
    potential = np.broadcast_to(np.arange(neurons) * steps, (*q.shape, neurons))  # k / P of the threshold P T
    spikes = ran(integrate_fire.step, started(potential), steps, q[:, :, None], neurons * steps)
    return spikes.reshape(steps, len(q), -1)


def bits(codec, q):
    return ran(doubling, started(q), codec.timesteps, 2 ** (codec.timesteps - 1))


def signed_digits(codec, q):
    return ran(non_adjacent, started(q), codec.timesteps, 2 ** (codec.timesteps - 1))


@pytest.mark.parametrize(
    ("module", "names", "dynamics"),
    [
        ("integrate_fire", ("integrate_fire_1", "integrate_fire_16", "integrate_fire_255"), integrate_and_fire),
        ("latency", ("latency_2", "latency_16", "latency_256"), time_to_first_spike),
        ("delta", ("delta_1", "delta_7", "delta_127"), tracking_error),
        ("temporal_sigma_delta", tuple(f"temporal_sigma_delta_{t}" for t in (1, 6, 7, 127, 128)), modulator),
        ("staggered", tuple(f"staggered_{n}" for n in ("1x9", "9x1", "3x5", "5x3", "16x16_8")), population),
        ("phase", ("phase_1", "phase_8", "phase_11"), bits),
        ("naf", ("naf_2", "naf_8", "naf_11"), signed_digits),
    ],
)
def test_the_neuron_and_the_encoder_agree_on_every_integer(module, names, dynamics):
    for name in names:
        codec = build(module, name, 0).fit(np.ones((1, 3), np.float32))
        every = np.arange(codec.lowest, codec.highest + 1)
        q = np.stack([every, every[::-1], np.roll(every, 1)], axis=1)
        np.testing.assert_array_equal(codec.to_spikes(q.astype(np.int32)).to_dense(), dynamics(codec, q))


def test_where_fractions_are_binary_the_staggered_neurons_may_count_in_float64():
    """Threshold 1, potentials k / P, input x in 0 .. 1: the neurons as they are described."""
    codec = build("staggered", "staggered_8x16", 0).fit(np.ones((1, 1), np.float32))
    q = np.arange(129)[:, None]
    potential = np.broadcast_to(np.arange(8) / 8, (129, 8))
    spikes = ran(integrate_fire.step, started(potential), 16, q / 128, 1.0)
    np.testing.assert_array_equal(codec.to_spikes(q.astype(np.int32)).to_dense(), spikes)


def test_rate_is_a_neuron_whose_threshold_is_drawn_anew_in_each_step():
    x = np.random.default_rng(0).uniform(-1, 1, (5, 11)).astype(np.float32)
    codec = build("rate", "rate_20", 7).fit(x)
    low, high = -np.abs(x).max(axis=0), np.abs(x).max(axis=0)
    train = codec.spike_train(codec.encode(x))
    for row, vector in enumerate(x):
        draws = generator(7, vector)
        for step in range(20):
            fired = (vector - low) / (high - low) > draws.random(11, np.float32)
            np.testing.assert_array_equal(train.plane(step)[row], fired)
