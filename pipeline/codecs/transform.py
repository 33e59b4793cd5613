"""Transform coding: principal components, and for each as many bits as its variance is worth. `transform_<bytes>`.

    y_j = r_j a_j . (x - mean),    q_j = the cell of y_j among 2^b_j,    x' = mean + sum_j level_j(q_j) / r_j a+_j

The a_j are the principal axes of the fit rows (Karhunen-Loeve transform), r_j makes y_j of variance 1, and a+_j are the
rows of the pseudo-inverse. Bits go one by one to the component whose squared error falls most, by the errors of Max's
quantizers for a Gaussian (Huang & Schultheiss 1963): this is reverse water-filling in whole bits. Components below the
water have none and are not stored. Cells and levels are then fitted to each component by Lloyd's algorithm (1957; Max
1960), because components of word vectors are no Gaussians.

The axes are shared as int8, with one scale each. Rounding them costs nothing: codes are made with the rounded axes, and
the pseudo-inverse is theirs. Codes are ceil(sum b_j / 8) bytes a vector, all of one size.

Search: `asymmetric`, the cosine of the float query with the decoded row, block by block.
"""

import re
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, Search, StoredCodec, check_vectors
from pipeline.codecs import asymmetric
from pipeline.codecs.layout import check_layout, check_padding
from pipeline.stage import UserError

NAME = re.compile(r"transform_([1-9]\d*)")
MOST = 8  # bits a component
# Mean squared error of the best 2^b levels for a Gaussian of variance 1 (Max 1960, table I); from 6 bits on Panter and
# Dite's limit, pi sqrt(3) / 2 / 4^b.
GAUSSIAN_ERRORS = np.array(
    [1, 0.3634, 0.1175, 0.03454, 0.009497, 0.002499, *(np.pi * 3**0.5 / 2 / 4.0 ** np.arange(6, MOST + 1))]
)
WIDER = NormalDist(sigma=3**0.5)
ROUNDS = 20  # of Lloyd's algorithm
BLOCK = 4096  # rows at a time: the bits of a block are unpacked to a byte each


def allocate(variances: Array, bits: int) -> Array:
    """Bits of each component, int64 [k], `bits` together: each where the error falls most. At most MOST each."""
    falls = variances[:, None] * -np.diff(GAUSSIAN_ERRORS)  # by the first bit, the second ...: smaller from bit to bit
    order = np.argsort(-falls, axis=None, kind="stable")[:bits]
    return np.bincount(order // MOST, minlength=len(variances))


def lloyd(y: Array, bits: int) -> Array:
    """2^bits rising levels, float64, of small squared error over y [n] of variance 1.

    Lloyd's algorithm, from where a Gaussian's many levels are: as dense as the cube root of its density (Panter & Dite
    1951), which is the density of variance 3. A cell that becomes empty keeps its level.
    """
    y = np.sort(y.astype(np.float64))
    sums = np.concatenate([[0], np.cumsum(y)])
    levels = np.array([WIDER.inv_cdf((i + 0.5) / 2**bits) for i in range(2**bits)])
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(y, (levels[1:] + levels[:-1]) / 2), [len(y)]])
        counts = np.diff(ends)
        levels = np.divide(np.diff(sums[ends]), counts, out=levels, where=counts > 0)
    return np.sort(levels)


@dataclass
class Transform(StoredCodec):
    """`size` bytes a vector, or fewer where the values cannot use them all.

    Shared: `mean` float32 [d]; `axes` int8 [d, k] and `reach` float32 [k], r of the axes as stored; `widths` uint8 [k],
    the bits of each component; `levels` float16, those of the first component, then those of the second ...
    """

    size: int = 0
    family: ClassVar[str] = "transform"
    searches: ClassVar[tuple[str, ...]] = ("asymmetric",)
    _inverse: Array | None = field(default=None, repr=False)

    @property
    def ledger(self) -> dict[str, str]:
        """The axes decode; the rest is what the codes are of."""
        return {"axes": "decoder", "reach": "decoder"}

    def fit(self, x: Array) -> Self:
        dims = check_vectors(x).shape[1]
        if 8 * self.size > MOST * dims:
            raise NotApplicableError(f"{self.name}: {self.size} bytes are more than {MOST} bits for {dims} values")
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = (x - mean).astype(np.float64)
        variances, axes = np.linalg.eigh(centred.T @ centred / len(x))
        widths = allocate(np.maximum(variances[::-1], 0), 8 * self.size)
        used = np.flatnonzero(widths)
        axes = axes[:, ::-1][:, used]
        stored = np.rint(axes / np.abs(axes).max(axis=0) * 127).astype(np.int8)
        y = centred @ stored
        spread = np.sqrt(np.mean(y * y, axis=0))
        reach = np.divide(1, spread, out=np.zeros(len(spread)), where=spread > 0).astype(np.float32)
        levels = [lloyd(one * r, bits) for one, r, bits in zip(y.T, reach, widths[used], strict=True)]
        self.shared = {
            **{"mean": mean, "axes": stored, "reach": reach, "widths": widths[used].astype(np.uint8)},
            "levels": np.concatenate(levels).astype(np.float16),
        }
        self._inverse = None
        return self

    def _levels(self) -> list[Array]:
        """Each component's levels, float32, rising."""
        ends = np.cumsum(2 ** self.shared["widths"].astype(np.int64))
        return np.split(self.shared["levels"].astype(np.float32), ends[:-1])

    def _places(self) -> Array:
        """Where the stored bits stand among MOST bits a component: int64 [sum of widths]."""
        widths = self.shared["widths"].astype(np.int64)
        return np.flatnonzero(np.arange(MOST) >= MOST - widths[:, None])

    def encode(self, x: Array) -> Codes:
        mean, places, levels = self.shared["mean"], self._places(), self._levels()
        forward = self.shared["axes"] * self.shared["reach"]
        packed = np.empty((len(check_vectors(x, len(mean))), -(-len(places) // 8)), np.uint8)
        for start in range(0, len(x), BLOCK):
            y = np.ascontiguousarray(((x[start : start + BLOCK] - mean) @ forward).T)
            cells = np.empty(y.shape, np.uint8)
            for j, own in enumerate(levels):
                cells[j] = np.searchsorted((own[1:] + own[:-1]) / 2, y[j])
            bits = np.unpackbits(np.ascontiguousarray(cells.T), axis=1)
            packed[start : start + BLOCK] = np.packbits(bits[:, places], axis=1)
        return Codes({"cells": packed})

    def _cells(self, packed: Array, places: Array) -> Array:
        """uint8 [n, k] from packed codes."""
        bits = np.zeros((len(packed), MOST * len(self.shared["widths"])), np.uint8)
        bits[:, places] = np.unpackbits(packed, axis=1)[:, : len(places)]
        return np.packbits(bits, axis=1)

    def _backward(self) -> Array:
        """The pseudo-inverse of the stored axes, over r: float32 [k, d]."""
        if self._inverse is None:
            axes, reach = self.shared["axes"].astype(np.float64), self.shared["reach"].astype(np.float64)
            inverse = np.linalg.pinv(axes)
            self._inverse = np.divide(
                inverse, reach[:, None], out=np.zeros_like(inverse), where=reach[:, None] > 0
            ).astype(np.float32)
        return self._inverse

    def decode(self, codes: Codes) -> Array:
        places, backward = self._places(), self._backward()
        levels = self.shared["levels"].astype(np.float32)
        widths = self.shared["widths"].astype(np.int64)
        first = np.cumsum(2**widths) - 2**widths
        packed = check_layout(codes, self.name, {"cells": (np.uint8, (-(-len(places) // 8),))})["cells"]
        check_padding(packed, len(places), self.name)
        decoded = np.empty((len(codes), backward.shape[1]), np.float32)
        for start in range(0, len(codes), BLOCK):
            cells = self._cells(packed[start : start + BLOCK], places)
            decoded[start : start + BLOCK] = levels[cells + first] @ backward
        return decoded + self.shared["mean"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        return asymmetric.cosine(codes, self.decode)


def build(name: str, seed: int) -> Codec:
    """`transform_<bytes>`. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found:
        raise UserError(f"representations: transform has no codec {name!r}; its names are transform_<bytes>")
    return Transform(name, seed, size=int(found[1]))
