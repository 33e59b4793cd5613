"""What spike codes of integers have in common: calibrate, send the integers as spikes, read them back exactly.

A code says how many levels it has and how one integer becomes spikes; its guarantee is that the same integers come
back, so that a value's error is that of rounding: inside the calibrated range at most half a step and what float32
rounds (at 16 bits about a hundredth of a step).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codes, StoredCodec, check_vectors
from pipeline.layout import check_layout
from pipeline.spikes import calibration
from pipeline.spikes.train import SpikeTrain


@dataclass
class SpikeCode(StoredCodec, ABC):
    """A code of spike trains: a vector has `spikes` uint8 [T, ceil(P / 8)], and `signs` where spikes have them."""

    family: ClassVar[str] = "spikes"
    signed: ClassVar[bool] = False  # whether spikes have signs

    steps: int = 1

    @property
    def timesteps(self) -> int:
        """T."""
        return self.steps

    @property
    @abstractmethod
    def neurons(self) -> int:
        """P of a whole vector; known after `fit`."""

    @abstractmethod
    def encode(self, x: Array) -> Codes:
        """Codes of rows float32 [n, d]."""

    @abstractmethod
    def decode(self, codes: Codes) -> Array:
        """float32 [n, d]."""

    def codes(self, train: SpikeTrain) -> Codes:
        """What is stored of a train."""
        return Codes({"spikes": train.packed} | ({} if train.negative is None else {"signs": train.negative}))

    def spike_train(self, codes: Codes) -> SpikeTrain:
        """The train that is stored. Raises UserError for codes of another code."""
        shape = (self.timesteps, -(-self.neurons // 8))
        layout = dict.fromkeys(("spikes", "signs") if self.signed else ("spikes",), (np.uint8, shape))
        found = check_layout(codes, self.name, layout)
        return SpikeTrain(found["spikes"], self.neurons, found["signs"] if self.signed else None)


@dataclass
class IntegerCode(SpikeCode):
    """Integers `lowest` .. `highest` of each value; `zero` and `step` float32 [d] are shared (see `calibration`)."""

    chosen: calibration.Choice = field(default_factory=calibration.Choice)

    @property
    @abstractmethod
    def highest(self) -> int:
        """The largest integer of the code; the smallest is 0, or its negative where integers are `centred`."""

    centred: ClassVar[bool] = False

    @property
    def lowest(self) -> int:
        return -self.highest if self.centred else 0

    @property
    def neurons_per_value(self) -> int:
        return 1

    @property
    def neurons(self) -> int:
        return len(self.shared["step"]) * self.neurons_per_value

    @abstractmethod
    def to_spikes(self, q: Array) -> SpikeTrain:
        """Spikes of integers int32 [n, d]; value j has neurons j p .. (j + 1) p - 1, p = `neurons_per_value`."""

    @abstractmethod
    def to_integers(self, train: SpikeTrain) -> Array:
        """The integers int32 [n, d] that `to_spikes` was given."""

    def fit(self, x: Array) -> Self:
        self.shared = calibration.fitted(check_vectors(x), self.highest, self.centred, self.chosen)
        return self

    @property
    def step(self) -> Array:
        """The distance of two levels of each dimension, float32 [d]."""
        return self.shared["step"]

    def integers(self, x: Array) -> Array:
        """int32 [n, d], lowest .. highest, of rows float32 [n, d]."""
        check_vectors(x, len(self.shared["step"]))
        return calibration.integers(x, self.shared, self.lowest, self.highest)

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values outside of the calibrated range (see `calibration`), which are clipped to its ends."""
        return calibration.outside(x, self.shared, self.lowest, self.highest)

    def encode(self, x: Array) -> Codes:
        return self.codes(self.to_spikes(self.integers(x)))

    def stored_integers(self, codes: Codes) -> Array:
        """int32 [n, d] of the codes: those that were encoded, all of them."""
        return self.to_integers(self.spike_train(codes))

    def decode(self, codes: Codes) -> Array:
        return calibration.values(self.stored_integers(codes), self.shared)
