"""Latency code: one spike, and the sooner it comes, the larger the integer (time to first spike).

    latency_<T>:   the spike is in step T - q, counted from 1;    q = 0 .. T - 1

The neuron (`neurons/integrate_fire.py`, `first_spike`) starts at the potential q and integrates 1 a step up to the
threshold T, so time is linear in the stimulus; with the stimulus as its input it would be the reciprocal, and levels
would crowd. The idea is Thorpe, Delorme and Van Rullen's (2001, "Spike-based strategies for rapid processing").

Guarantee: all T integers come back. Each value has exactly one spike, 0 too: its spike is in the last step, and a
neuron without a spike, or with two, is refused as damaged.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration, planes
from pipeline.spikes.integer_code import IntegerCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError


@dataclass
class Latency(IntegerCode):
    """T levels a value, one neuron, T steps, one spike."""

    @property
    def highest(self) -> int:
        return self.steps - 1

    def to_spikes(self, q: Array) -> SpikeTrain:
        return planes.train(q, self.steps, lambda some: (some == left for left in range(self.steps - 1, -1, -1)))

    def to_integers(self, train: SpikeTrain) -> Array:
        """Raises UserError, naming vector and dimension, where a neuron has not exactly one spike."""
        once, twice = (np.zeros_like(train.packed[:, 0]) for _ in range(2))
        q = np.full((len(train), train.neurons), -1, np.int32)
        for step in range(self.steps):
            twice |= once & train.packed[:, step]
            once |= train.packed[:, step]
            q += np.unpackbits(once, axis=1, count=train.neurons)  # q + 1 steps from the spike to the last
        if len(wrong := np.argwhere(np.unpackbits(once & ~twice, axis=1, count=train.neurons) == 0)):
            row, neuron = wrong[0]
            raise UserError(f"{self.name}: damaged codes: vector {row} has not one spike for dimension {neuron}")
        return q


def build(name: str, seed: int) -> Codec:
    """`latency_<T>`, T from 2 to 4096. Raises UserError for any other name."""
    return Latency(name, seed, steps=planes.timesteps(name, "latency", least=2))


fit_together = calibration.together(build)
