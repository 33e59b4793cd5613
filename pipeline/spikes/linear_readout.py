"""Linear decoders of spikes: each spike of neuron p in step t adds a weight of its own to its value.

    y_j = bias + sum_p sum_t s(t, j P + p) w(t, p)

One P and T for all values j: a decoder is T P numbers at most, or P where a neuron's spikes all weigh the same. It is
solved by least squares, with a little ridge, from spikes of known values.
"""

from collections.abc import Iterable
from typing import Any

import numba
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from pipeline.codec import Array
from pipeline.spikes.train import SpikeTrain

RIDGE = 1e-6  # of the mean square of a feature: enough where some never fire, or where they add up to a constant


def solve(parts: Iterable[tuple[Array, Array]]) -> tuple[Array, float]:
    """Weights float64 [k] and bias of a least sum |y - bias - z w|^2 + ridge; parts of (z [n, k], y [n]).

    Features are mostly 0 (few of a population's neurons answer to a value), so all sums are sparse.
    """
    gram: Any = 0
    moments: Any = 0
    count = 0
    for z, y in parts:
        z = sparse.csr_array(np.column_stack([z, np.ones(len(z))]).astype(np.float64))
        gram, moments, count = gram + z.T @ z, moments + z.T @ (y - 0.5), count + len(y)
    ridge = RIDGE * (gram.trace() - count) / max(gram.shape[0] - 1, 1) + np.finfo(np.float64).tiny
    found = spsolve((gram + ridge * sparse.eye_array(gram.shape[0])).tocsc(), moments)
    return found[:-1], float(found[-1]) + 0.5


def read(train: SpikeTrain, weights: Array, dims: int) -> Array:
    """y float64 [n, dims], without bias; `weights` [T, P], and value j has the neurons j P .. (j + 1) P - 1."""
    found = np.zeros((len(train), dims), np.float64)
    weights = np.ascontiguousarray(np.broadcast_to(weights, (train.timesteps, weights.shape[-1])), np.float64)
    _read(np.ascontiguousarray(train.packed), weights, found)
    return found


@numba.njit(cache=True)
def _read(packed, weights, found):  # type: ignore[no-untyped-def]
    """Spike by spike: bytes without one, which are most, cost a look."""
    vectors, steps, width = packed.shape
    neurons = weights.shape[1]
    for v in range(vectors):
        for t in range(steps):
            for place in range(width):
                byte = packed[v, t, place]
                for bit in range(8) if byte else range(0):
                    if byte & (128 >> bit):
                        neuron = 8 * place + bit
                        found[v, neuron // neurons] += weights[t, neuron % neurons]
