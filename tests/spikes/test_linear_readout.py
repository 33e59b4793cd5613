import numpy as np
import pytest

from pipeline.spikes import linear_readout
from pipeline.spikes.train import SpikeTrain

RNG = np.random.default_rng(0)


def test_the_solution_is_that_of_least_squares_however_it_is_parted():
    z, y = RNG.poisson(0.7, (400, 9)).astype(np.float64), RNG.random(400)
    expected = np.linalg.lstsq(np.column_stack([z, np.ones(400)]), y, rcond=None)[0]
    for parts in (1, 7):
        weights, bias = linear_readout.solve(zip(np.array_split(z, parts), np.array_split(y, parts), strict=True))
        np.testing.assert_allclose([*weights, bias], expected, atol=1e-4)


@pytest.mark.parametrize("singular", ["silent", "constant sum", "nothing"])
def test_neurons_that_do_not_fire_or_add_up_to_a_constant_do_no_harm(singular):
    z = np.eye(4)[RNG.integers(0, 4, 500)]
    z[:, 3] *= singular == "constant sum"
    z *= singular != "nothing"
    y = z @ [0.1, 0.4, 0.3, 0.2] + 0.3
    weights, bias = linear_readout.solve([(z, y)])
    np.testing.assert_allclose(z @ weights + bias, y, atol=1e-5)
    assert np.abs(weights).max() < 1


@pytest.mark.parametrize(("dims", "neurons"), [(1, 1), (3, 5), (8, 2), (4, 1)])
def test_each_spike_adds_its_weight(dims, neurons):
    dense = (RNG.random((6, 10, dims * neurons)) < 0.3).astype(np.float32)
    train = SpikeTrain.from_dense(dense)
    by_step, by_neuron = RNG.standard_normal((6, neurons)), RNG.standard_normal((1, neurons))
    spikes = dense.reshape(6, 10, dims, neurons)
    np.testing.assert_allclose(linear_readout.read(train, by_step, dims), np.einsum("tnjp,tp->nj", spikes, by_step))
    np.testing.assert_allclose(linear_readout.read(train, by_neuron, dims), spikes.sum(axis=0) @ by_neuron[0])
