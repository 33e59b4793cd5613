"""Populations with lateral inhibition: the largest potential fires first, and its spike is taken off all others.

    u_i = <e_i, y>, i = 1 .. M;   phase t = 0 .. T - 1: while some neuron that has not fired in t has |u_i| >= theta(t),
    the one of the largest |u_i| fires:  s_i(t) = sign u_i,   u_j <- u_j - w(t) s_i(t) <e_i, e_j>  for all j

    theta(t) = max((w(t) + w(t + 1)) / 2, floor),   theta(T - 1) = floor

M = P m neurons share m values, e_i their preferred directions (unit vectors): a population code whose spikes weigh by
their phase. Inhibition makes it greedy for the squared error (matching pursuit: Mallat and Zhang 1993; by spikes:
Boerlin, Machens and Deneve 2013). Membrane control: one floor, the lowest threshold of all neurons, is moved until they
fire as often as the budget says; what stays below it is not sent.
"""

from typing import NamedTuple

import numba
import numpy as np

from pipeline.codec import Array

LAST = 0.8  # the floor, in parts of the last weight, where weights are geometric
MAGNITUDE = np.int32(0x7FFFFFFF)  # the bits of a float32 but for its sign


def geometric(first: Array, floor: float, steps: int) -> Array:
    """Weights float64 [g, T] that fall from `first` [g] to floor / LAST, in equal parts; T at least 2."""
    last = floor / LAST
    return last * np.maximum(first[:, None] / last, 1) ** (np.arange(steps - 1, -1, -1) / (steps - 1))


def thresholds(weight: Array, floor: float) -> Array:
    """theta [..., T] of weights [..., T]."""
    middle = (weight + np.concatenate([weight[..., 1:], weight[..., -1:]], axis=-1)) / 2
    middle[..., -1] = floor
    return np.maximum(middle, floor)


class Fired(NamedTuple):
    """What M neurons did: the amplitude sum_t w(t) s(t) of each, float32 [n, M]; and by phase the sum of the potentials
    |u| that fired, and the spikes, float64 [T]."""

    amplitude: Array
    level: Array
    spikes: Array


def fire(drive: Array, directions: Array, weight: Array, floor: float, spikes: Array, first: int) -> Fired:
    """Drives y float [n, m] to neurons of these directions [M, m] and weights [T].

    Their spikes are set in `spikes` uint8 [2, n, T, ...], packed as in a `SpikeTrain` and its signs, from neuron
    `first` on.
    """
    amplitude = np.zeros((len(drive), len(directions)), np.float32)
    level, count = np.zeros((2, len(weight)))
    potential = np.ascontiguousarray(drive @ directions.T, np.float32)
    inhibition = np.ascontiguousarray(directions @ directions.T, np.float32)
    threshold = thresholds(weight, floor).astype(np.float32)
    packed, negative = spikes
    _fire(potential, inhibition, weight.astype(np.float32), threshold, packed, negative, first, amplitude, level, count)
    return Fired(amplitude, level, count)


@numba.njit(cache=True, fastmath={"nnan", "ninf", "nsz"})
def _fire(potential, inhibition, weight, threshold, packed, negative, first, amplitude, level, count):  # type: ignore[no-untyped-def]
    """The equation above: potentials u [n, M], of which the rest is left; inhibition [M, M], weight and threshold [T].

    |u| are compared as the whole numbers that their bits are, sign left out, which have the same order: so a neuron
    that has fired in this phase is out by a mask, and maxima are of eight neurons at a time.
    """
    vectors, neurons = potential.shape
    waits = np.full(neurons, MAGNITUDE)  # 0: has fired in this phase
    places = np.arange(neurons, 0, -1).astype(np.int32)  # the first of equals has the largest
    lowest = threshold.view(np.int32)
    for v in range(vectors):
        u = potential[v]
        bits = u.view(np.int32)
        largest = _largest(bits, waits)
        for t in range(len(weight)):
            fired = False
            while largest >= lowest[t]:
                place = np.int32(0)
                for i in range(neurons):
                    place = max(place, places[i] if bits[i] & waits[i] == largest else np.int32(0))
                who = neurons - place
                byte, mask = (first + who) >> 3, np.uint8(128 >> ((first + who) & 7))
                packed[v, t, byte] |= mask
                taken = weight[t]
                if u[who] < 0:
                    negative[v, t, byte] |= mask
                    taken = -taken
                amplitude[v, who] += taken
                level[t] += abs(u[who])
                count[t] += 1
                fired, waits[who] = True, 0
                others = inhibition[who]
                for i in range(neurons):
                    u[i] -= taken * others[i]
                largest = _largest(bits, waits)
            if fired:
                waits[:] = MAGNITUDE
                largest = _largest(bits, waits)


@numba.njit(cache=True)
def _largest(bits, waits):  # type: ignore[no-untyped-def]
    """The bits of the largest |u| of the M neurons that wait."""
    largest = np.int32(0)
    for i in range(len(bits)):
        largest = max(largest, bits[i] & waits[i])
    return largest
