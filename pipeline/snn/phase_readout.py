"""What spikes mean, read with attention over phases, circular over the T steps, without softmax.

    y_j = sum_t w_j(t) s_j(t) (1 + sum_phi c(t, phi) |s_j((t + phi) mod T)|),   phi = 0 .. T - 1

The value is a neuron's spike in step t, the query the same spike, the key whether the neuron also fired phi steps
later in the circle: head phi reads keys at the phase shift phi, and c, float [T, T], is how much that counts. At
phi = 0 it is the weight of a phase itself. All neurons share c. It costs an operation a pair of spikes of one neuron.
c is the least squares solution on rows whose y is known, with a little ridge towards c = 0, at which what is read is
exactly what the neuron's resets have taken away. It is worth little: below 1 % of the error on the default tables.

    shifted_sum   sum_k s_k((t + phi_k) mod T): attention whose queries and keys are 1 throughout. A circular shift is a
                  permutation of the steps, so the sum over t is that of the counts whatever the shifts are.
"""

import numba
import numpy as np

from pipeline.codec import Array

RIDGE = 1e-4  # of the mean square of a feature


def read(spikes: Array, weight: Array, attention: Array) -> Array:
    """y float64 [n, m] of spikes int8 [n, m, T], weights [T, m] and attention c [T, T]."""
    found = np.zeros(spikes.shape[:2])
    _read(spikes, weight.T.astype(np.float64), attention.astype(np.float64), found)
    return found


def solve(spikes: Array, weight: Array, y: Array) -> Array:
    """The attention c float64 [T, T] of a least squared error of y [n, m]."""
    steps = len(weight)
    gram, target = np.zeros((steps * steps, steps * steps)), np.zeros(steps * steps)
    rest = y - read(spikes, weight, np.zeros((steps, steps)))
    _moments(spikes, weight.T.astype(np.float64), rest, gram, target)
    ridge = RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float64).tiny
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), target).reshape(steps, steps)


def shifted_sum(spikes: Array, shifts: Array) -> Array:
    """int64 [..., T] of spikes [..., P, T]: neuron k is read at phase t + shifts[k], circular."""
    steps = spikes.shape[-1]
    phase = (np.arange(steps) + shifts[:, None]) % steps
    return np.take_along_axis(spikes, np.broadcast_to(phase, spikes.shape), axis=-1).sum(axis=-2, dtype=np.int64)


@numba.njit(cache=True)
def _fired(spikes, at):  # type: ignore[no-untyped-def]
    """The steps of spikes [T], into `at`; how many there are."""
    count = 0
    for t in range(len(spikes)):
        if spikes[t]:
            at[count] = t
            count += 1
    return count


@numba.njit(cache=True)
def _read(spikes, weight, attention, found):  # type: ignore[no-untyped-def]
    vectors, neurons, steps = spikes.shape
    at = np.empty(steps, np.int64)
    for v in range(vectors):
        for j in range(neurons):
            count = _fired(spikes[v, j], at)
            for a in range(count):
                gain = 1.0
                for b in range(count):
                    gain += attention[at[a], (at[b] - at[a]) % steps]
                found[v, j] += weight[j, at[a]] * spikes[v, j, at[a]] * gain


@numba.njit(cache=True)
def _moments(spikes, weight, rest, gram, target):  # type: ignore[no-untyped-def]
    vectors, neurons, steps = spikes.shape
    at, place, size = np.empty(steps, np.int64), np.empty(steps * steps, np.int64), np.empty(steps * steps)
    for v in range(vectors):
        for j in range(neurons):
            count, features = _fired(spikes[v, j], at), 0
            for a in range(count):
                for b in range(count):
                    place[features] = at[a] * steps + (at[b] - at[a]) % steps
                    size[features] = weight[j, at[a]] * spikes[v, j, at[a]]
                    features += 1
            for a in range(features):
                target[place[a]] += size[a] * rest[v, j]
                for b in range(features):
                    gram[place[a], place[b]] += size[a] * size[b]
