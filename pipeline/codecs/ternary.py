"""Ternary vectors: each value -1, 0 or 1 of its dimension's scale, 1.58 bits.

BitNet b1.58 (Ma et al. 2024) rounds weights by their mean size: w_q = clip(round(w / g), -1, 1), g = mean |w|. Here the
rounding is of centred dimensions, z = x - mean, and g_j = c mean |z_j|, with the factor c found on the fit rows instead
of assumed to be 1: the one of least squared error, near 1.54 (a Gaussian's: 1.53, twice its Lloyd threshold of 0.612
standard deviations over its mean size), since 1 spends too few zeros. Decoding: x' = mean + s t, s_j the scale of least
squared error, sum z t / sum t^2.

Scales are a dimension's, so shared. A scale a vector as well lowers the error by at most 2.5 % on word tables and costs
two bytes of 60; two more bytes of code would lower it by 7 % (6 dB a bit and dimension).

`ternary` packs five trits a byte. `ternary_entropy` codes the same trits by their frequencies, one string a vector;
frequencies of the table or of each dimension, whichever is smaller with the frequencies counted (on the fit rows).

Search: `asymmetric`, the cosine of the float query with the decoded row, block by block.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pipeline import asymmetric
from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, Strings, check_vectors
from pipeline.codecs import trits
from pipeline.codecs.trit_strings import trit_strings, trits_of_strings
from pipeline.layout import check_layout, check_strings
from pipeline.stage import UserError

FACTORS = np.arange(0.8, 2.6, 0.04)


def ternarize(z: Array, step: Array) -> Array:
    """clip(round(z / step), -1, 1), int8, ties to zero; zero where the step is."""
    half = step / 2
    return ((z > half).astype(np.int8) - (z < -half)) * (step > 0)


def least_squares(z: Array, ternary: Array) -> Array:
    """The scale s of least sum (z - s t)^2 over the first axis, float64; zero where all trits are."""
    counts = np.count_nonzero(ternary, axis=0)
    # sum z t without a product array: what is counted positive less what is counted negative
    sums = np.einsum("nd,nd->d", z, ternary, dtype=np.float64)
    return np.divide(sums, counts, out=np.zeros(z.shape[1:], np.float64), where=counts > 0)


def best_factor(z: Array, size: Array) -> float:
    """c of the steps c * size [d] with the least squared error over z [n, d], each with its best scale."""

    def captured(factor: float) -> float:
        """What the error falls by: sum over dimensions of s^2 sum t^2."""
        ternary = ternarize(z, (factor * size).astype(np.float32))
        return float(np.sum(least_squares(z, ternary) ** 2 * np.count_nonzero(ternary, axis=0)))

    return float(max(FACTORS, key=captured))


@dataclass
class Ternary(StoredCodec):
    """ceil(d / 5) bytes a vector; `mean`, `step` and `scale`, float32 [d], are shared."""

    family: ClassVar[str] = "ternary"
    searches: ClassVar[tuple[str, ...]] = ("asymmetric",)
    asymmetric_is_cosine: ClassVar[bool] = True

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        z = x - mean
        size = np.abs(z).mean(axis=0, dtype=np.float64)
        step = (best_factor(z, size) * size).astype(np.float32)
        self.shared = {"mean": mean, "step": step}
        self.shared["scale"] = least_squares(z, self.trits_of(x)).astype(np.float32)
        return self

    def trits_of(self, x: Array) -> Array:
        """int8 [n, d]."""
        return ternarize(check_vectors(x, len(self.shared["mean"])) - self.shared["mean"], self.shared["step"])

    def stored(self, codes: Codes) -> Any:
        """What holds the trits, if the codes can be this codec's: an array, or strings."""
        return check_layout(codes, self.name, {"trits": (np.uint8, (trits.width(len(self.shared["mean"])),))})["trits"]

    def unpacked(self, codes: Codes) -> Array:
        """The trits that codes hold, int8 [n, d]."""
        return trits.unpack(self.stored(codes), len(self.shared["mean"]))

    def encode(self, x: Array) -> Codes:
        return Codes({"trits": trits.pack(self.trits_of(x))})

    def decode(self, codes: Codes) -> Array:
        return self.unpacked(codes) * self.shared["scale"] + self.shared["mean"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        self.stored(codes)
        return asymmetric.cosine(codes, self.decode)


class TernaryEntropy(Ternary):
    """A string a vector; shared besides: `counts`, uint8 [1 or d, 3], the frequencies that the trits are coded by."""

    def fit(self, x: Array) -> Self:
        super().fit(x)
        found = self.trits_of(x)
        counts = np.stack([np.count_nonzero(found == value, axis=0) for value in (-1, 0, 1)], axis=1)
        tables = [_bytes_of(counts.sum(axis=0, keepdims=True)), _bytes_of(counts)]
        self.shared["counts"] = min(tables, key=lambda table: _bits(counts, table) + 8 * table.nbytes)
        return self

    def encode(self, x: Array) -> Codes:
        return Codes({"trits": Strings.of(trit_strings(self.trits_of(x), self.shared["counts"]))})

    def stored(self, codes: Codes) -> Strings:
        strings = check_strings(codes, self.name, "trits")
        if strings.group != 1:
            raise UserError(f"{self.name}: codes of another codec: {strings.group} vectors share a string")
        return strings

    def unpacked(self, codes: Codes) -> Array:
        strings = self.stored(codes).strings()
        try:
            return trits_of_strings(strings, len(self.shared["mean"]), self.shared["counts"])
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None


def _bytes_of(counts: Array) -> Array:
    """Counts [k, 3] in proportion, as uint8 of at least 1: a trit that the fit rows lack can still be coded."""
    most = np.maximum(counts.max(axis=1, keepdims=True), 1)
    return np.maximum(np.rint(counts * (255 / most)), 1).astype(np.uint8)


def _bits(counts: Array, table: Array) -> float:
    """Bits of trits with these counts [d, 3], coded by a table [1 or d, 3]."""
    chances = table / table.sum(axis=1, keepdims=True, dtype=np.float64)
    return float(-(counts * np.log2(chances)).sum())


def build(name: str, seed: int) -> Codec:
    """`ternary` or `ternary_entropy`. Raises UserError for any other name."""
    kinds: dict[str, type[Ternary]] = {"ternary": Ternary, "ternary_entropy": TernaryEntropy}
    if name in kinds:
        return kinds[name](name, seed)
    raise UserError(f"representations: ternary has no codec {name!r}; it has {' and '.join(kinds)}")
