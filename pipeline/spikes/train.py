"""Spike trains of n vectors: P neurons, T steps, at most one spike a neuron and step, perhaps with a sign.

    SpikeTrain.packed[v, t]    the spikes of vector v in step t, a bit a neuron, the first neuron the highest bit
    SpikeTrain.negative        which of them are negative, in the same places; None where none can be

Three exact forms of the same: packed bits (this class), events (`events.py`), Parquet on disk (`event_files.py`).
`to_dense` gives what other libraries take: [T, B, N], as snnTorch has it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.stage import UserError

Array = np.ndarray


@dataclass(frozen=True)
class SpikeTrain:
    """`packed` uint8 [n, T, ceil(P / 8)], `negative` the same or None; the bits behind the last neuron are 0.

    Raises UserError where shapes, or spikes behind the last neuron, do not fit; or a sign stands where no spike is.
    """

    packed: Array
    neurons: int
    negative: Array | None = None

    def __post_init__(self) -> None:
        if self.neurons < 0:
            raise UserError(f"spike train: {self.neurons} neurons: expected 0 or more")
        expected = -(-self.neurons // 8)
        if self.packed.dtype != np.uint8 or self.packed.ndim != 3 or self.packed.shape[2] != expected:
            found = f"{self.packed.dtype} {list(self.packed.shape)}"
            raise UserError(f"spike train: {found}: {self.neurons} neurons are uint8 [n, T, {expected}]")
        if self.neurons % 8 and (self.packed[:, :, -1] & (0xFF >> self.neurons % 8)).any():
            raise UserError(f"spike train: a spike of a neuron beyond the last, {self.neurons - 1}")
        if self.negative is None:
            return
        if self.negative.dtype != np.uint8 or self.negative.shape != self.packed.shape:
            found = f"{self.negative.dtype} {list(self.negative.shape)}"
            raise UserError(f"spike train: signs of {found} for spikes of {list(self.packed.shape)}")
        if (self.negative & ~self.packed).any():
            raise UserError("spike train: a sign where there is no spike")

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def timesteps(self) -> int:
        """T."""
        return self.packed.shape[1]

    @property
    def signed(self) -> bool:
        """Whether spikes may be negative."""
        return self.negative is not None

    @property
    def slots(self) -> int:
        """n P T: places in which a spike can be."""
        return len(self) * self.neurons * self.timesteps

    @property
    def bits(self) -> int:
        """Bits of the dense form without padding: one a slot, two where spikes have signs."""
        return self.slots * (1 + self.signed)

    @property
    def spikes(self) -> int:
        """How many there are."""
        return int(np.bitwise_count(self.packed).sum(dtype=np.int64))

    def spikes_per_value(self, values: int) -> float:
        """Spikes over n times the `values` of a vector: its dimensions, whatever the neurons of each."""
        return self.spikes / (len(self) * values)

    @property
    def sparsity(self) -> float:
        """The share of slots without a spike; 1 where there are no slots."""
        return 1 - self.spikes / self.slots if self.slots else 1.0

    @property
    def entropy_bits(self) -> float:
        """n P T H(p), H in bits of the frequencies of no spike, spike and negative spike among all slots: what an ideal
        coder that knows these three numbers and nothing else would use."""
        negative = 0 if self.negative is None else int(np.bitwise_count(self.negative).sum(dtype=np.int64))
        counts = np.array([self.slots - self.spikes, self.spikes - negative, negative], np.float64)
        counts = counts[counts > 0]
        return float(counts @ np.log2(self.slots / counts)) if len(counts) else 0.0

    def counts(self) -> Array:
        """int32 [n, P]: a neuron's spikes over all steps, negative ones subtracted."""
        total = np.zeros((len(self), self.neurons), np.int32)
        for step in range(self.timesteps):
            total += self.plane(step)
        return total

    def plane(self, step: int) -> Array:
        """int8 [n, P]: 1, 0, or -1, of one step."""
        fired = np.unpackbits(self.packed[:, step], axis=1, count=self.neurons).view(np.int8)
        if self.negative is None:
            return fired
        return fired - 2 * np.unpackbits(self.negative[:, step], axis=1, count=self.neurons).view(np.int8)

    def take(self, rows: Array) -> "SpikeTrain":
        """The trains of some vectors, in the order given."""
        return SpikeTrain(self.packed[rows], self.neurons, None if self.negative is None else self.negative[rows])

    def to_dense(self) -> Array:
        """float32 [T, n, P] of 1, 0 and -1: snnTorch's [time, batch, neurons]."""
        found = [self.plane(step).astype(np.float32) for step in range(self.timesteps)]
        return np.stack(found) if found else np.zeros((0, len(self), self.neurons), np.float32)

    @classmethod
    def from_dense(cls, dense: Array, signed: bool = False) -> Self:
        """From [T, n, P] of 1 and 0, or, where it is `signed`, -1. Raises UserError, naming the place, for others."""
        allowed = (0, 1, -1) if signed else (0, 1)
        if dense.ndim != 3:
            raise UserError(f"spike train: shape {list(dense.shape)}: expected [T, n, P]")
        if len(wrong := np.argwhere(~np.isin(dense, allowed))):
            step, row, neuron = wrong[0]
            what = f"{dense[step, row, neuron]} at step {step} of vector {row}, neuron {neuron}"
            raise UserError(f"spike train: {what}: expected one of {', '.join(map(str, allowed))}")
        by_vector = dense.transpose(1, 0, 2)
        negative = np.packbits(by_vector < 0, axis=2) if signed else None
        return cls(np.packbits(by_vector != 0, axis=2), dense.shape[2], negative)
