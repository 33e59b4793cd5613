"""Search on spikes: nearest neighbours from trains that are not decoded. Queries are float vectors.

- `counts`: the query becomes a train as well; the smallest Euclidean distance of the two vectors of spike counts [P].
  Sensible where a neuron's count grows with its value (rate codes); of staggered neurons the counts of each value's
  are added up first. Of a code whose steps have different weights (phase, non-adjacent form) a count is how many bits
  are set and says almost nothing of the value; one spike a value (latency) always counts 1.
- `hamming`: the query becomes a train as well; the smallest Hamming distance of the slots, two bits a slot where spikes
  have signs. Sensible for carried binary codes; of weighted steps it counts the least like the most significant.
- `shift_add`: exact integer dot products of spikes that weigh 2^(T-1-t), times an integer query, shifts and adds alone:

      <q, w> = sum_t 2^(T-1-t) <s_t, w>,      <s_t, w> = sum_u +- 2^u popcount(s_t & w_u),      w_u: bit u of all of w

  The score is the cosine with the decoded row x' = zero + step q, but for the rounding of the query. For a query y

      <y, x'> = <y, zero> + <y step, q>,      w = round(y step / g),      g = max_j |y_j step_j| / (2^(B-1) - 1)

  so score = (<y, zero> + g <w, q>) / |x'|: the first term is the zero point's, and |x'| the row's norm. Norms, float32,
  are computed from the spikes when the index is made: they cost 4 bytes a row there, and nothing that is stored.
"""

from collections.abc import Iterator
from typing import ClassVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from pipeline import asymmetric, exhaustive
from pipeline.codec import Array, Codes, Search
from pipeline.spikes.integer_code import IntegerCode, SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

QUERY_BITS = 10  # B, sign included: recall@10 of phase_8 on minilm is 0.995 decoded, 0.994 with 10 bits, 0.993 with 8
ROWS = 4096  # rows that are scored, or decoded for their norm, at a time
LANES = 512  # of them that the kernel takes at a time: eight planes of 384 neurons are 192 KiB, in a second cache


# --- exact integer dot products ------------------------------------------------------------------------------------


def reference(train: SpikeTrain, w: Array) -> Array:
    """int64 [q, n]: dot products of integers w [q, P] with trains whose step t weighs 2^(T-1-t), as one would say it.

    A step's sum is doubled with each later step: an accumulator of synapses that shifts and adds.
    """
    total = np.zeros((len(w), len(train)), np.int64)
    for step in range(train.timesteps):
        total = 2 * total + w.astype(np.int64) @ train.plane(step).T.astype(np.int64)
    return total


class Planes:
    """Trains as 64-bit words, neurons of a step side by side and rows last: what the kernel counts in.

    A step of signed spikes is two planes: all spikes with its weight, the negative ones with minus twice that.
    """

    def __init__(self, train: SpikeTrain) -> None:
        places = np.arange(train.timesteps - 1, -1, -1)
        self.neurons = train.neurons
        self.words = _words(train.packed)  # uint64 [planes, ceil(P / 64), n]
        self.shifts, self.minus = places, np.zeros(len(places), bool)
        if train.negative is not None:
            self.words = np.concatenate([self.words, _words(train.negative)])
            self.shifts = np.concatenate([places, places + 1])
            self.minus = np.repeat([False, True], len(places))

    def __len__(self) -> int:
        return self.words.shape[2]

    def dots(self, w: Array, first: int = 0, last: int | None = None) -> Array:
        """int64 [q, rows] of integers w [q, P] with rows first .. last - 1: bit for bit what `reference` gives.

        Raises UserError where a sum might pass 2^63.
        """
        w = w.astype(np.int64, casting="safe")
        bits = max(int(w.max(initial=0)), -int(w.min(initial=0)) - 1).bit_length() + 1  # two's complement
        longest = bits + int(self.shifts.max(initial=0)) + 1 + self.neurons.bit_length()
        if longest > 63:
            raise UserError(f"search: a dot product of {self.neurons} neurons may have {longest} bits; 63 are exact")
        sliced = np.stack([np.packbits(w >> place & 1 != 0, axis=1) for place in range(bits)], axis=1)
        queries = np.ascontiguousarray(_words(sliced).transpose(2, 0, 1))  # [q, bits, words]
        rows = range(len(self))[first:last]
        found = np.empty((len(w), len(rows)), np.int64)
        _dots(self.words, self.shifts, self.minus, queries, rows.start, found)
        return found


def _words(packed: Array) -> Array:
    """uint8 [n, T, b] as uint64 [T, ceil(b / 8), n]; the bits within a word lie as the machine's bytes do."""
    filled = np.zeros((*packed.shape[:2], -(-packed.shape[2] // 8) * 8), np.uint8)
    filled[:, :, : packed.shape[2]] = packed
    return np.ascontiguousarray(filled.view(np.uint64).transpose(1, 2, 0))


@intrinsic
def _popcount(context, word):  # type: ignore[no-untyped-def]
    """How many bits of a uint64 are set: one instruction, which numba has no name for."""
    return types.uint64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@numba.njit(cache=True)
def _dots(base, shifts, minus, queries, first, found):  # type: ignore[no-untyped-def]
    """Rows lie side by side, so that each inner loop is vector instructions. A query's highest bit is negative."""
    planes, words, _ = base.shape
    rows = found.shape[1]
    bits = queries.shape[1]
    part, total = np.empty(LANES, np.uint64), np.empty(LANES, np.int64)
    for start in range(0, rows, LANES):
        width = min(LANES, rows - start)
        for i in range(len(queries)):
            total[:] = 0
            for k in range(planes):
                for u in range(bits):
                    part[:] = 0
                    for word in range(words):
                        asked = queries[i, u, word]
                        row = base[k, word, first + start : first + start + width]
                        for j in range(width):
                            part[j] += _popcount(row[j] & asked)
                    shift = np.uint64(shifts[k] + u)
                    if minus[k] != (u == bits - 1):
                        for j in range(width):
                            total[j] -= np.int64(part[j] << shift)
                    else:
                        for j in range(width):
                            total[j] += np.int64(part[j] << shift)
            for j in range(width):
                found[i, start + j] = total[j]


# --- searches ------------------------------------------------------------------------------------------------------


def integer_queries(queries: Array, step: Array, bits: int = QUERY_BITS) -> tuple[Array, Array]:
    """w int64 [q, d] and g float64 [q, 1], so that y step is nearly g w; g is 1 where a query is zero."""
    scaled = queries.astype(np.float64) * step
    largest = np.abs(scaled).max(axis=1, keepdims=True)
    g = np.where(largest > 0, largest, 1) / (2 ** (bits - 1) - 1)
    return np.rint(scaled / g).astype(np.int64), g


def shift_add(train: SpikeTrain, zero: Array, step: Array, norms: Array) -> Search:
    """Largest cosine of the rounded query with rows zero + step q, q the trains' integers, |row| = `norms` [n]."""
    planes = Planes(train)
    lengths = np.where(norms > 0, norms, 1)

    def search(queries: Array, k: int) -> Array:
        w, g = integer_queries(queries, step)
        shift = (queries.astype(np.float64) @ zero)[:, None]

        def scores() -> Iterator[Array]:
            for first in range(0, len(planes), ROWS):
                last = min(first + ROWS, len(planes))
                yield ((shift + g * planes.dots(w, first, last)) / lengths[first:last]).astype(np.float32)

        return asymmetric.best(scores(), len(queries), k)

    return search


class SpikeSearch(SpikeCode):
    """Mixed into spike codes: `counts` and `hamming`."""

    searches: ClassVar[tuple[str, ...]] = ("counts", "hamming")

    def compared_counts(self, train: SpikeTrain) -> Array:
        """int32 [n, k]: the counts whose distance `counts` takes, one a neuron."""
        return train.counts()

    def searcher(self, rule: str, codes: Codes) -> Search:
        def slots(train: SpikeTrain) -> Array:
            parts = [train.packed] if train.negative is None else [train.packed, train.negative]
            return np.concatenate([part.reshape(len(train), -1) for part in parts], axis=1)

        def counts(train: SpikeTrain) -> Array:
            return self.compared_counts(train).astype(np.float32)

        of, by = (slots, exhaustive.hamming) if rule == "hamming" else (counts, exhaustive.euclidean)
        search = by(of(self.spike_train(codes)))
        return lambda queries, k: search(of(self.spike_train(self.encode(queries))), k)


class ShiftAddSearch(SpikeSearch, IntegerCode):
    """Mixed into integer codes of one neuron a value whose step t weighs 2^(T-1-t): `shift_add` as well."""

    searches: ClassVar[tuple[str, ...]] = ("counts", "hamming", "shift_add")

    def searcher(self, rule: str, codes: Codes) -> Search:
        if rule != "shift_add":
            return super().searcher(rule, codes)
        train = self.spike_train(codes)
        norms = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), ROWS):
            rows = self.decode(codes.take(np.arange(start, min(start + ROWS, len(codes)))))
            norms[start : start + ROWS] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        return shift_add(train, self.shared["zero"], self.shared["step"], norms)
