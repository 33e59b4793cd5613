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

TOP = 0.8  # the first weight, in parts of the reach
LAST = 0.8  # the lowest threshold, in parts of delta: what is left in the end is a dead zone
HALVINGS = 20
LOWEST, HIGHEST = 2.0**-14, 2.0**4  # delta that is looked for, in standard deviations


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


def fire(y: Array, neurons: Phases) -> Array:
    """Spikes int8 [n, m, T] of 1, 0 and -1 of drives y float [n, m]."""
    spikes = np.zeros((*y.shape, len(neurons.weight)), np.int8)
    _fire(
        np.ascontiguousarray(y, np.float64), neurons.reach, neurons.weight.T.copy(), neurons.threshold.T.copy(), spikes
    )
    return spikes


def calibrated(y: Array, reach: Array, budget: float, steps: int) -> float:
    """The delta at which drives y [n, m] have `budget` spikes a value, or as near as it comes from below."""
    scale = float(np.sqrt(np.square(y, dtype=np.float64).mean()))
    low, high = np.log2(LOWEST * scale), np.log2(HIGHEST * scale)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_many = np.count_nonzero(fire(y, phases(reach, 2**middle, steps))) > budget * y.size
        low, high = (middle, high) if too_many else (low, middle)
    return float(2**high)


@numba.njit(cache=True)
def _fire(y, reach, weight, threshold, spikes):  # type: ignore[no-untyped-def]
    for v in range(y.shape[0]):
        for j in range(y.shape[1]):
            u = min(max(y[v, j], -reach[j]), reach[j])
            for t in range(weight.shape[1]):
                if u >= threshold[j, t]:
                    u -= weight[j, t]
                    spikes[v, j, t] = 1
                elif u <= -threshold[j, t]:
                    u += weight[j, t]
                    spikes[v, j, t] = -1
