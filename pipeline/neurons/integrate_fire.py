"""Integrate-and-fire neurons with soft reset: state in, state and spikes out, in whole numbers or float64.

A spike takes its size theta away from the potential u instead of setting u to 0, so nothing is lost: what went in is
what was sent plus what is left (Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient
event-driven networks for image classification", call it reset by subtraction).

    step            u' = u + i,    s = [u' >= theta],                    u = u' - theta s
    signed          u' = u + i,    s = sign(u') [2 |u'| > theta],        u = u' - theta s
    first_spike     u = u + i,     s = [u >= theta and none before]
    doubling                       s = [u >= theta],                     u = 2 (u - theta s)
    non_adjacent                   s = sign(u) [3 |u| > 2 theta],        u = 2 (u - theta s)

- `step`, with 0 <= u(0) < theta and a constant 0 <= i <= theta: t steps fire floor((u(0) + i t) / theta) times.
- `signed`, the first-order sigma-delta modulator with three levels: |u| <= theta / 2 holds after each step if it held
  before the first and |i| <= theta. With i = 0 and u(0) = x it is delta modulation of a constant: u is the tracking
  error.
- `first_spike`: with i = 1 the spike comes in step theta - u(0), the time a linear function of the stimulus u(0).
- `doubling`, a leak of beta = 2 (Kim et al. 2018, "Deep neural networks with weighted spikes"): with theta = 2^(K-1)
  and u(0) = q < 2^K its K steps are the bits of q, the highest first.
- `non_adjacent`: with theta = 2^(K-1) its K steps are the digits of q's non-adjacent form (Reitwiesner 1960), the
  highest first, for |3 q| < 4 theta. For where the form has no digit at its highest place theta, |q| <= floor(2 theta /
  3); where it has one, the place below is empty, so the rest is at most floor(theta / 3) and |q| >= ceil(2 theta / 3).
  2 theta is no multiple of 3, so the two do not meet. After a spike |u| <= 2 theta / 3: no two follow each other.

Whole numbers are exact. float64 is so where potentials, inputs and thresholds are multiples of one power of two (k / P
and x = n / (P T) are none for P = 3); float32 is refused.
"""

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class State(NamedTuple):
    """`potential` u, int64 or float64, of any shape."""

    potential: Array


class Waiting(NamedTuple):
    """Of `first_spike`: `potential`, and `fired` bool of the same shape: who has had its spike."""

    potential: Array
    fired: Array


def started(potential: Array) -> State:
    """The state at a potential. Raises TypeError for another type than int64 and float64."""
    if potential.dtype not in (np.int64, np.float64):
        raise TypeError(f"potentials of type {potential.dtype}: expected int64 or float64")
    return State(potential)


def waiting(potential: Array) -> Waiting:
    """The state at a potential, nobody having fired. Raises TypeError as `started` does."""
    return Waiting(started(potential).potential, np.zeros(potential.shape, bool))


def step(state: State, drive: Array, threshold: int | float) -> tuple[State, Array]:
    """One step with an input of at most the threshold; spikes int8 of 0 and 1."""
    u = state.potential + drive
    spikes = (u >= threshold).astype(np.int8)
    return State(_reset(u, spikes, threshold)), spikes


def signed(state: State, drive: Array, threshold: int | float) -> tuple[State, Array]:
    """One step of a neuron with two thresholds, half a spike's size above and below 0; spikes int8 of -1, 0 and 1."""
    u = state.potential + drive
    spikes = (2 * u > threshold).astype(np.int8) - (2 * u < -threshold).astype(np.int8)
    return State(_reset(u, spikes, threshold)), spikes


def first_spike(state: Waiting, drive: Array, threshold: int | float) -> tuple[Waiting, Array]:
    """One step of a neuron that fires once; spikes int8 of 0 and 1."""
    u = state.potential + drive
    spikes = (u >= threshold) & ~state.fired
    return Waiting(u, state.fired | spikes), spikes.astype(np.int8)


def doubling(state: State, threshold: int | float) -> tuple[State, Array]:
    """One step without input, what is left being doubled; spikes int8 of 0 and 1."""
    u = state.potential
    spikes = (u >= threshold).astype(np.int8)
    return State(2 * _reset(u, spikes, threshold)), spikes


def non_adjacent(state: State, size: int | float) -> tuple[State, Array]:
    """As `doubling`, firing beyond two thirds of a spike's size on either side of 0; spikes int8 of -1, 0 and 1."""
    u = state.potential
    spikes = (3 * u > 2 * size).astype(np.int8) - (3 * u < -2 * size).astype(np.int8)
    return State(2 * _reset(u, spikes, size)), spikes


def _reset(potential: Array, spikes: Array, size: int | float) -> Array:
    """Soft reset, in the potential's type: a size times int8 may be too large for int8."""
    return potential - spikes.astype(potential.dtype) * size
