"""Codes of one neuron a value whose integer is the number of its spikes, negative ones subtracted."""

from dataclasses import dataclass

from pipeline.codec import Array
from pipeline.spikes.integer_code import IntegerCode
from pipeline.spikes.train import SpikeTrain


@dataclass
class CountCode(IntegerCode):
    """Integers 0 .. T, or -T .. T where they are `centred`."""

    @property
    def highest(self) -> int:
        return self.steps

    def to_integers(self, train: SpikeTrain) -> Array:
        return train.counts()
