"""Bernoulli rate code: in each of T steps a spike or none, with a probability that is the value. The familiar baseline.

    rate_<T>:   p = (x - low) / (high - low),    P(s(t) = 1) = p, all steps independent,
                x' = low + (high - low) sum_t s(t) / T

low and high are the ends of the calibrated range; beyond it p is 0 or 1. As a neuron it has no memory: it fires where
its input exceeds a threshold that is uniform in [0, 1) and drawn anew in each step.

Guarantee, and there is no more: x' is right in the mean, with a variance of p (1 - p) (high - low)^2 / T, so it is off
by at most (high - low) / (2 sqrt(T)) in the root mean square. It is no integer code: a count is the nearest to T p only
by chance.

The draws of a vector hang on the codec's seed and that vector, not on where it stands: encoded alone, in a block or in
another order, it has the same spikes.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from pipeline.codec import Array, Codec, Codes
from pipeline.spikes import calibration, planes, unit_interval
from pipeline.spikes.search import SpikeSearch
from pipeline.spikes.train import SpikeTrain


@dataclass
class Rate(SpikeSearch):
    """One neuron a value, T steps. `zero` and `step` float32 [d] are shared: low, and high - low."""

    chosen: calibration.Choice = field(default_factory=calibration.Choice)

    @property
    def neurons(self) -> int:
        return len(self.shared["step"])

    def fit(self, x: Array) -> Self:
        self.shared = unit_interval.fitted(x, self.chosen)
        return self

    def encode(self, x: Array) -> Codes:
        p = unit_interval.fractions(x, self.shared)
        packed = np.empty((len(x), self.steps, -(-self.neurons // 8)), np.uint8)
        for row, one in enumerate(x):
            thresholds = generator(self.seed, one).random((self.steps, self.neurons), np.float32)
            packed[row] = np.packbits(thresholds < p[row], axis=1)
        return self.codes(SpikeTrain(packed, self.neurons))

    def integers(self, x: Array) -> Array:
        """int32 [n, d]: the counts nearest to T p, which those of the spikes are not."""
        return np.rint(unit_interval.fractions(x, self.shared) * self.steps).astype(np.int32)

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values outside of the calibrated range (see `calibration`)."""
        return unit_interval.outside(x, self.shared)

    def stored_integers(self, codes: Codes) -> Array:
        """int32 [n, d]: the counts."""
        return self.spike_train(codes).counts()

    def decode(self, codes: Codes) -> Array:
        return unit_interval.values(self.stored_integers(codes) / self.steps, self.shared)


def generator(seed: int, vector: Array) -> np.random.Generator:
    """The random numbers of a vector float32 [d], each seed and vector having their own."""
    digest = hashlib.blake2b(vector.tobytes(), digest_size=16, salt=seed.to_bytes(16, "little")).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8")))


def build(name: str, seed: int) -> Codec:
    """`rate_<T>`, T from 1 to 4096. Raises UserError for any other name."""
    return Rate(name, seed, steps=planes.timesteps(name, "rate", least=1))


fit_together = calibration.together(build)
