"""What a vector costs SpikingJam, layer by layer, for `energy.py`: encoding and decoding, counted on its spikes.

    scale        exact: a multiplication for each value at both ends
    drive        learned: y = (x - mean) R, dense
    directions   populations: potentials E y, dense
    neurons      each of them at each step
    inhibition   populations: each spike is multiplied by its phase's weight and taken off all neurons of its group
    attention    each pair of spikes of one neuron; exact: each spike once
    reading      the rows of the decoder of those neurons that fired, each times what its spikes say; and what is dense
                 behind them

The dense network has the same matrices, and passes real numbers through all of them.
"""

import numpy as np

from pipeline.codec import Array
from pipeline.snn.layer import Layer, Layers
from pipeline.snn.spikingjam import Exact, Learned
from pipeline.snn.spikingjam_population import Population
from pipeline.spikes.train import SpikeTrain

Network = Exact | Learned | Population


def dense_layer(rows: int, inputs: int, outputs: int) -> Layer:
    """A matrix that multiplies `rows` rows of real numbers."""
    weights = inputs * outputs
    return Layer(macs=rows * weights, values=rows * (inputs + outputs), weights=weights)


def _directions(codec: Population, rows: int) -> Layer:
    """E times the values of each group, or the other way round."""
    weights = sum(one.size for one in codec.parameters.directions)
    return Layer(macs=rows * weights, values=rows * (codec.dims + codec.neurons), weights=weights)


def _fired(train: SpikeTrain) -> Array:
    """int64 [n, P]: how often each neuron fired."""
    found = np.zeros((len(train), train.neurons), np.int64)
    for step in range(train.timesteps):
        found += np.abs(train.plane(step))
    return found


def spiking(codec: Network, train: SpikeTrain, dims: int) -> Layers:
    """Layers of the spikes of some vectors of `dims` values, all vectors together."""
    rows, spikes, neurons = len(train), train.spikes, train.neurons
    steps = rows * neurons * train.timesteps
    found = {"neurons": Layer(updates=steps, neurons=steps, spikes=spikes, state=neurons)}
    if isinstance(codec, Exact):
        scale = Layer(macs=2 * rows * dims, values=4 * rows * dims, weights=2 * dims)
        return found | {"scale": scale, "attention": Layer(accumulates=spikes, state=dims)}
    counts = _fired(train)
    active = int(np.count_nonzero(counts))
    pairs = float(np.square(counts).sum())
    found["drive"] = dense_layer(rows, dims, dims)
    found["attention"] = Layer(accumulates=pairs, weights=train.timesteps**2, state=neurons)
    if isinstance(codec, Learned):
        found["reading"] = Layer(products=active * dims, weights=dims * dims, state=dims)
        return found
    synapses, read = 0, 0
    for layer, one in zip(codec.layers, codec.parameters.directions, strict=True):
        synapses += int(counts[:, layer].sum()) * len(one)
        read += int(np.count_nonzero(counts[:, layer])) * one.shape[1]
    inhibiting = sum(len(one) ** 2 for one in codec.parameters.directions)
    found["directions"] = _directions(codec, rows)
    found["inhibition"] = Layer(products=synapses, weights=inhibiting, state=neurons)
    found["reading"] = Layer(products=read, weights=found["directions"].weights, state=dims)
    found["reading_axes"] = dense_layer(rows, dims, dims)
    return found


def dense(codec: Learned | Population, rows: int, dims: int) -> Layers:
    """Layers of the dense network, for so many vectors."""
    found = {"drive": dense_layer(rows, dims, dims), "reading_axes": dense_layer(rows, dims, dims)}
    if isinstance(codec, Population):
        found |= {"directions": _directions(codec, rows), "reading": _directions(codec, rows)}
    return found
