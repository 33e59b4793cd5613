"""Transport: a float's own bit pattern as spikes, one bit a slot. Exact, and no code for synapses.

    transport_float32   32 steps: sign, 8 exponent bits, 23 bits of the fraction (IEEE 754), the highest bit first
    transport_bf16      16 steps: the upper half of the same pattern, rounded to nearest, ties to even

One neuron a value; step t has bit 31 - t (15 - t). It is transport because exponent bits are no synaptic weights: what
a spike is worth hangs on eight others, and no sum of spikes by fixed weights gives the value. It is here as the measure
of what bits for bits cost; a phase code of as many steps spends all of them on the value itself.

Guarantee: `transport_float32` gives every finite float32 that it is given back bit for bit, subnormals and -0.0 too;
`transport_bf16` every value that is a bf16, and of any other its nearest. A value that would round to infinity becomes
the largest finite bf16, and `outside` counts it. The workflow and `pipeline.spikes.encode` give it unit rows, as all
spike codes: of a source's raw rows these come back, not the rows' norms, so it is not among the lossless codecs.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, check_vectors
from pipeline.spikes import planes
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

WIDTHS = {"transport_float32": 32, "transport_bf16": 16}
EXPONENT, LARGEST = 0x7F80, 0x7F7F  # of bf16: infinity, and the largest below it


def bf16_patterns(x: Array) -> Array:
    """uint32 patterns, below 2^16, of finite float32 values rounded to bf16: nearest, ties to even; infinity where the
    largest bf16 is more than half a step away."""
    pattern = x.view(np.uint32)
    return (pattern + np.uint32(0x7FFF) + (pattern >> 16 & 1)) >> 16


def to_spikes(patterns: Array, width: int) -> SpikeTrain:
    """The lowest `width` bits of uint32 [n, d] as d neurons x `width` steps, the highest first."""
    places = range(width - 1, -1, -1)
    return planes.train(patterns, width, lambda block: (block >> place & 1 != 0 for place in places))


def to_patterns(train: SpikeTrain) -> Array:
    """uint32 [n, d]: what `to_spikes` was given."""
    patterns = np.zeros((len(train), train.neurons), np.uint32)
    for rows in planes.blocks(len(train), train.neurons):
        for step in range(train.timesteps):
            bits = np.unpackbits(train.packed[rows, step], axis=1, count=train.neurons)
            patterns[rows] |= bits.astype(np.uint32) << (train.timesteps - 1 - step)
    return patterns


@dataclass
class Transport(SpikeCode):
    """`dims` int32 [1] is shared: how many of the last byte's bits are neurons."""

    learns: ClassVar[bool] = False

    @property
    def neurons(self) -> int:
        return int(self.shared["dims"][0])

    def fit(self, x: Array) -> Self:
        self.shared = {"dims": np.array([check_vectors(x).shape[1]], np.int32)}
        return self

    def _unlimited(self, x: Array) -> Array:
        """Patterns, uint32 [n, d]; of bf16 infinity as well."""
        x = np.ascontiguousarray(check_vectors(x, self.neurons))
        return bf16_patterns(x) if self.steps == 16 else x.view(np.uint32)

    def integers(self, x: Array) -> Array:
        """Bit patterns, uint32 [n, d], that are sent of rows float32 [n, d]."""
        patterns = self._unlimited(x)
        if self.steps == 32:
            return patterns
        return np.where(patterns & 0x7FFF == EXPONENT, patterns & 0x8000 | LARGEST, patterns).astype(np.uint32)

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values that would round to infinity."""
        infinite = EXPONENT if self.steps == 16 else EXPONENT << 16
        return self._unlimited(x) & (2 ** (self.steps - 1) - 1) == infinite

    def encode(self, x: Array) -> Codes:
        return self.codes(to_spikes(self.integers(x), self.steps))

    def stored_integers(self, codes: Codes) -> Array:
        return to_patterns(self.spike_train(codes))

    def decode(self, codes: Codes) -> Array:
        return (self.stored_integers(codes) << (32 - self.steps)).view(np.float32)


def build(name: str, seed: int) -> Codec:
    """`transport_float32` or `transport_bf16`. Raises UserError for any other name."""
    if name in WIDTHS:
        return Transport(name, seed, steps=WIDTHS[name])
    raise UserError(f"representations: transport has no codec {name!r}; it has {' and '.join(WIDTHS)}")
