"""Minimum-weight code: a codebook of as few spikes as the levels' frequencies allow.

    minimum_weight_<b>_<S>          2^b levels, one neuron, S steps
    minimum_weight_<b>_<P>x<T>      2^b levels, P neurons, T steps: S = P T slots

Fitting counts how often each level is on the fit rows (all dimensions together). The levels, most frequent first, get
the 2^b lightest words of S slots, lightest first; `ranks` [2^b], which word each level has, is shared. All levels have
a word, those too that were never seen; equally frequent levels are taken by their distance from the mean level. Equally
heavy words are taken in the order of their binary value, slot (t, p) being bit S - 1 - (t P + p). So the words
themselves need not be stored.

Guarantee: all 2^b integers come back (decoding is a look-up; a pattern that is no word is refused), and no code of 2^b
levels in S slots has fewer spikes on the fit rows. For let f_1 >= f_2 >= .. be the levels' frequencies and w_1 <= w_2
<= .. the weights of the 2^b lightest words. Another code's weights in rising order are v_i >= w_i, as its words are
distinct and these are the lightest that there are; and frequencies in falling order with weights in rising order have
the least sum of f v (an exchange of two out of order never raises it): sum f_i w_i <= sum f_i v_i <= the other's sum.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration
from pipeline.spikes.integer_code import IntegerCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"minimum_weight_([1-9][0-9]?)_(?:([1-9][0-9]?)x)?([1-9][0-9]?)")
MOST_BITS = 16
MOST_SLOTS = 64
BLOCK = 512  # rows at a time


def ranked(frequency: Array) -> Array:
    """The rank of each level by its frequency [levels], 0 the most frequent; the smallest unsigned type."""
    level = np.arange(len(frequency))
    mean = level @ frequency / max(frequency.sum(), 1)
    order = np.lexsort((level, np.abs(level - mean), -frequency))
    ranks = np.empty(len(level), np.min_scalar_type(len(level) - 1))
    ranks[order] = level
    return ranks


@lru_cache(maxsize=8)
def lightest(count: int, slots: int) -> Array:
    """The `count` lightest words of so many slots, uint64, by weight and then by value."""
    found = np.fromiter((word for _, word in zip(range(count), _words(slots), strict=False)), np.uint64)
    found.flags.writeable = False
    return found


def _words(slots: int) -> Iterator[int]:
    """All words of so many bits, by weight and then by value."""
    yield 0
    for weight in range(1, slots + 1):
        word = (1 << weight) - 1
        while word < 1 << slots:
            yield word
            lowest = word & -word  # the next larger number of as many ones (HAKMEM 175)
            carried = word + lowest
            word = carried | ((word ^ carried) // lowest >> 2)


@dataclass
class MinimumWeight(IntegerCode):
    """2^b levels in P neurons x T steps."""

    bits: int = 8
    population: int = 1

    @property
    def neurons_per_value(self) -> int:
        return self.population

    @property
    def highest(self) -> int:
        return 2**self.bits - 1

    @property
    def codebook(self) -> Array:
        """uint64 [2^b]: each level's word; its highest bits are the neurons of the first step."""
        return lightest(2**self.bits, self.population * self.steps)[self.shared["ranks"]]

    def fit(self, x: Array) -> Self:
        super().fit(x)
        frequency = np.zeros(2**self.bits, np.int64)
        for start in range(0, len(x), BLOCK):
            q = self.integers(x[start : start + BLOCK])
            frequency += np.bincount(q.ravel(), minlength=len(frequency))
        self.shared["ranks"] = ranked(frequency)
        return self

    def to_spikes(self, q: Array) -> SpikeTrain:
        codebook, neurons = self.codebook, q.shape[1] * self.population
        packed = np.empty((len(q), self.steps, -(-neurons // 8)), np.uint8)
        for start in range(0, len(q), BLOCK):
            words = codebook[q[start : start + BLOCK]]
            spikes = np.empty((*words.shape, self.population), bool)
            for step in range(self.steps):
                for neuron in range(self.population):
                    spikes[:, :, neuron] = words >> self._place(step, neuron) & np.uint64(1)
                packed[start : start + BLOCK, step] = np.packbits(spikes.reshape(len(words), neurons), axis=1)
        return SpikeTrain(packed, neurons)

    def to_integers(self, train: SpikeTrain) -> Array:
        """Raises UserError, naming vector and value, for spikes that are no code word."""
        codebook = self.codebook
        order = np.argsort(codebook)
        known = codebook[order]
        q = np.empty((len(train), train.neurons // self.population), np.int32)
        for start in range(0, len(q), BLOCK):
            block = train.take(np.arange(start, min(start + BLOCK, len(q))))
            words = np.zeros((len(block), q.shape[1]), np.uint64)
            for step in range(self.steps):
                spikes = block.plane(step).astype(np.uint64).reshape(*words.shape, self.population)
                for neuron in range(self.population):
                    words |= spikes[:, :, neuron] << self._place(step, neuron)
            places = np.minimum(np.searchsorted(known, words), len(known) - 1)
            if len(wrong := np.argwhere(known[places] != words)):
                row, value = wrong[0]
                raise UserError(f"{self.name}: the spikes of vector {start + row}, value {value}, are no code word")
            q[start : start + BLOCK] = order[places]
        return q

    def _place(self, step: int, neuron: int) -> np.uint64:
        """The bit of a slot in a word."""
        return np.uint64(self.population * (self.steps - step) - 1 - neuron)


def build(name: str, seed: int) -> Codec:
    """`minimum_weight_<b>_<S>` or `minimum_weight_<b>_<P>x<T>`; b up to 16, at most 64 slots.

    Raises UserError for any other name, and for fewer slots than bits.
    """
    found = NAME.fullmatch(name)
    bits, population, steps = (int(part or 1) for part in found.groups()) if found else (0, 0, 0)
    slots = population * steps
    if not found or bits > MOST_BITS or slots > MOST_SLOTS:
        names = "minimum_weight_<bits>_<slots> and minimum_weight_<bits>_<neurons>x<steps>"
        limits = f"1 to {MOST_BITS} bits, at most {MOST_SLOTS} slots"
        raise UserError(f"representations: minimum_weight has no codec {name!r}; its names are {names}, {limits}")
    if slots < bits:
        what = f"{slots} slot{'' if slots == 1 else 's'} cannot tell 2^{bits} levels apart"
        raise UserError(f"representations: {name}: {what}: at least {bits} slots")
    return MinimumWeight(name, seed, bits=bits, population=population, steps=steps)


fit_together = calibration.together(build)
