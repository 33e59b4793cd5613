"""What spikes mean, read with attention over phases, circular over the T steps, without softmax.

    y_j = sum_t w_j(t) s_j(t) (1 + sum_phi c(t, phi) |s_j((t + phi) mod T)|),   phi = 0 .. T - 1

The value is a neuron's spike in step t, the query the same spike, the key whether the neuron also fired phi steps
later in the circle: head phi reads keys at the phase shift phi, and c, float [T, T], is how much that counts. At
phi = 0 it is the weight of a phase itself. All neurons share c. It costs an operation a pair of spikes of one neuron.
c is the least squares solution on rows whose y is known, with a little ridge towards c = 0, at which what is read is
exactly what the neuron's resets have taken away. It is worth little: below 1 % of the error on the default tables.

    shifted   s_k((t + phi_k) mod T): attention whose queries and keys are 1 throughout. A circular shift is a
              permutation of the steps, so that a neuron's count, the sum over t, is the same whatever the shifts are.
"""

import numba
import numpy as np

from pipeline.codec import Array
from pipeline.spikes.train import SpikeTrain

RIDGE = 1e-4  # of the mean square of a feature


def read(train: SpikeTrain, weight: Array, attention: Array) -> Array:
    """y float64 [n, m] of the spikes of m neurons, weights [T, m] and attention c [T, T]."""
    found = np.zeros((len(train), train.neurons))
    assert train.negative is not None
    steps = np.arange(len(weight))
    later = (steps - steps[:, None]) % len(weight)
    heard = attention.astype(np.float64)[steps[:, None], later]  # by the steps of both spikes
    _read(train.packed, train.negative, weight.T.astype(np.float64), heard, found)
    return found


def by_neuron(train: SpikeTrain) -> Array:
    """Spikes int8 [n, m, T]."""
    return np.stack([train.plane(step) for step in range(train.timesteps)], axis=2)


def solve(train: SpikeTrain, weight: Array, y: Array) -> Array:
    """The attention c float64 [T, T] of a least squared error of y [n, m]."""
    steps = len(weight)
    gram, target = np.zeros((steps * steps, steps * steps)), np.zeros(steps * steps)
    rest = y - read(train, weight, np.zeros((steps, steps)))
    _moments(by_neuron(train), weight.T.astype(np.float64), rest, gram, target)
    return regression(gram, target).reshape(steps, steps)


def regression(gram: Array, target: Array) -> Array:
    """The solution [k] of normal equations [k, k], [k], with the ridge."""
    ridge = RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float64).tiny
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), target)


def heads(shifts: Array, neurons: int) -> dict[int, Array]:
    """Phase shift phi -> the neurons of N that are read at it, packed uint8 [ceil(N / 8)]: neuron k at phi =
    shifts[k mod P], of shifts int64 [P]."""
    return {int(phi): np.packbits(np.resize(shifts == phi, neurons)) for phi in np.unique(shifts)}


def shifted(packed: Array, by_shift: dict[int, Array]) -> Array:
    """Packed spikes, uint8 [n, T, ceil(N / 8)] as `SpikeTrain` has them, each neuron's read at the phase t + phi,
    circular; `by_shift`: what `heads` makes, once for all blocks of rows."""
    found = np.zeros_like(packed)
    shifts = np.fromiter(by_shift, np.int64, len(by_shift))
    _shifted(packed, shifts, np.stack(list(by_shift.values())), found)
    return found


@numba.njit(cache=True)
def _shifted(packed, shifts, heads, found):  # type: ignore[no-untyped-def]
    vectors, steps, width = packed.shape
    for v in range(vectors):
        for t in range(steps):
            now = found[v, t]
            for head in range(len(shifts)):
                read, neurons = packed[v, (t + shifts[head]) % steps], heads[head]
                for byte in range(width):
                    now[byte] |= read[byte] & neurons[byte]


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
def _read(packed, negative, weight, heard, found):  # type: ignore[no-untyped-def]
    vectors, steps, width = packed.shape
    at, sign = np.empty((2, 8, steps), np.int8)  # of a byte's eight neurons, their spikes in turn
    counts = np.empty(8, np.int64)
    for v in range(vectors):
        for byte in range(width):
            counts[:] = 0
            for t in range(steps):
                fired, below = packed[v, t, byte], negative[v, t, byte]
                if fired == 0:
                    continue
                for bit in range(8):
                    mask = np.uint8(128 >> bit)
                    if fired & mask:
                        at[bit, counts[bit]] = t
                        sign[bit, counts[bit]] = -1 if below & mask else 1
                        counts[bit] += 1
            for bit in range(min(8, found.shape[1] - 8 * byte)):
                j = 8 * byte + bit
                for a in range(counts[bit]):
                    gain = 1.0
                    for b in range(counts[bit]):
                        gain += heard[at[bit, a], at[bit, b]]
                    found[v, j] += weight[j, at[bit, a]] * sign[bit, a] * gain


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
