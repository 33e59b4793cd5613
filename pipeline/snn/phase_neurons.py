"""Neurons whose thresholds fall from phase to phase: when a signed spike comes says how much it weighs.

    u(0) = clip(y, -r, r),   s(t) = sign(u) [|u| >= theta(t)],   u <- u - w(t) s(t),   t = 0 .. T - 1

    w(t) = delta a^((T - 1 - t) / (T - 1)),   a = max(TOP r / delta, 1)
    theta(t) = max((w(t) + w(t + 1)) / 2, LAST delta),   theta(T - 1) = LAST delta

Integrate-and-fire with soft reset, two signs, and a dynamic threshold (as few-spikes neurons have one: Stoeckl and
Maass 2021); measured in thresholds, the potential has a leak above 1. So few spikes a value: one at the right phase is
within a part of it, the next ones send what is left. Membrane control is twofold: the potential is bounded by the
neuron's reach r, and one delta, the last weight of all neurons, is moved until they fire as often as the budget says
(`calibrated`). A neuron whose values stay below LAST delta is silent: its variance is under the water (reverse
water-filling).
"""

from typing import NamedTuple

import numba
import numpy as np

from pipeline.codec import Array
from pipeline.spikes.train import SpikeTrain

TOP = 0.8  # the first weight, in parts of the reach
LAST = 0.8  # the lowest threshold, in parts of delta: what is left in the end is a dead zone
LOWEST, HIGHEST = -14, 4  # delta that is looked for, log2 of standard deviations
FEWER, ROUGH, FINE = (
    5,
    6,
    10,
)  # halvings: of the range to a quarter, on a fifth of the rows; of thrice that to a thousandth


class Phases(NamedTuple):
    """Of m neurons and T phases: `reach` [m], and `weight` and `threshold` [T, m], float64."""

    reach: Array
    weight: Array
    threshold: Array


def phases(reach: Array, delta: float, steps: int) -> Phases:
    """The phases of neurons with this reach [m]; T at least 2, delta above 0."""
    reach = reach.astype(np.float64)
    places = np.arange(steps - 1, -1, -1)[:, None] / (steps - 1)
    weight = delta * np.maximum(TOP * reach / delta, 1) ** places
    threshold = np.maximum((weight + np.vstack([weight[1:], weight[-1:]])) / 2, LAST * delta)
    threshold[-1] = LAST * delta
    return Phases(reach, weight, threshold)


def fire(y: Array, neurons: Phases) -> SpikeTrain:
    """Spikes of drives y float [n, m]."""
    packed, negative = np.zeros((2, len(y), len(neurons.weight), -(-y.shape[1] // 8)), np.uint8)
    _fire(np.ascontiguousarray(y, np.float64), neurons.reach, neurons.weight, neurons.threshold, packed, negative)
    return SpikeTrain(packed, y.shape[1], negative)


def calibrated(y: Array, reach: Array, budget: float, steps: int) -> float:
    """The delta at which drives y [n, m] have `budget` spikes a value, or as near as it comes from below."""
    scale = np.log2(np.sqrt(np.square(y, dtype=np.float64).mean()))
    low, high = scale + LOWEST, scale + HIGHEST
    for rows, halvings in ((y[::FEWER], ROUGH), (y, FINE)):  # roughly on some rows, and then near there on all
        for _ in range(halvings):
            middle = (low + high) / 2
            too_many = fire(rows, phases(reach, 2**middle, steps)).spikes > budget * rows.size
            low, high = (middle, high) if too_many else (low, middle)
        if rows is not y:
            low, high = low - (high - low), high + (high - low)
    return float(2**high)


@numba.njit(cache=True)
def _fire(y, reach, weight, threshold, packed, negative):  # type: ignore[no-untyped-def]
    """All neurons of a row step by step, without a branch: eight at a time, though most have long been silent."""
    vectors, neurons = y.shape
    u = np.empty(neurons)
    fired, below = np.zeros((2, 8 * packed.shape[2]), np.uint8)
    for v in range(vectors):
        for j in range(neurons):
            u[j] = min(max(y[v, j], -reach[j]), reach[j])
        for t in range(len(weight)):
            w, theta = weight[t], threshold[t]
            for j in range(neurons):
                over, under = u[j] >= theta[j], u[j] <= -theta[j]
                u[j] -= (w[j] if over else 0.0) - (w[j] if under else 0.0)
                fired[j], below[j] = over | under, under
            _pack(fired.view(np.uint64), packed[v, t])
            _pack(below.view(np.uint64), negative[v, t])


@numba.njit(cache=True)
def _pack(flags, packed):  # type: ignore[no-untyped-def]
    """Eight bytes of 0 or 1, read as one little-endian number, to the bits of a byte, the first the highest."""
    for byte in range(len(packed)):
        packed[byte] = flags[byte] * np.uint64(0x8040201008040201) >> np.uint64(56)
