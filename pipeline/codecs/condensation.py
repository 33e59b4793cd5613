"""Condensation: m signs of a sigma-delta code to p small integers whose l1 distance estimates the Euclidean one.

    V = sqrt(pi / 2) / (p |v|_2) (I_p (x) v),    v the lambda = r l - r + 1 coefficients of (1 + z + ... + z^(l-1))^r

and |V (q_x - q_y)|_1 estimates |x - y| (Zhang and Saab, ICLR 2021, arXiv 2010.00712), for drives y = A x with a frame
whose entries have variance 1. A block of lambda signs becomes one integer, for v is a smooth window: the feedback's
noise is the r-th difference of something bounded, which v sums up to O(1) while |v|_2 grows as lambda^(r - 1/2). So the
quantisation part of the error falls as m^-(r - 1/2) at a given p. What stays is the JL error of p rows.

Exact: the integers, |(I (x) v) q| <= l^r and of its parity. Searchable by faiss: IndexFlat with METRIC_L1 on the
integers times each vector's scale.
"""

from dataclasses import dataclass

import faiss
import numpy as np

from pipeline.codec import Array, Search
from pipeline.stage import UserError


@dataclass(frozen=True)
class Window:
    """v of order r and length l, for m steps. Raises UserError where not one block fits, or for r or l below 1."""

    order: int
    length: int
    steps: int

    def __post_init__(self) -> None:
        if self.order < 1 or self.length < 1 or self.size > self.steps:
            raise UserError(
                f"condensation: order {self.order} and l = {self.length} need {self.size} steps a block, "
                f"both at least 1; there are {self.steps}"
            )

    @property
    def size(self) -> int:
        """lambda, the steps in a block."""
        return self.order * self.length - self.order + 1

    @property
    def blocks(self) -> int:
        """p; steps beyond p lambda are not used."""
        return self.steps // self.size

    @property
    def coefficients(self) -> Array:
        """v, int64 [lambda]; their sum is l^r."""
        v = np.ones(1, np.int64)
        for _ in range(self.order):
            v = np.convolve(v, np.ones(self.length, np.int64))
        return v

    @property
    def factor(self) -> float:
        """sqrt(pi / 2) / (p |v|_2): what the sum of |integer differences| is multiplied by."""
        return float(np.sqrt(np.pi / 2) / (self.blocks * np.linalg.norm(self.coefficients)))

    def sums(self, series: Array) -> Array:
        """(I_p (x) v) of each row, float [n, m] -> the same type [n, p]. Exact for signs: integers below 2^24."""
        whole = series[:, : self.blocks * self.size].reshape(len(series), self.blocks, self.size)
        return whole @ self.coefficients.astype(series.dtype)

    def integers(self, signs: Array) -> Array:
        """(I_p (x) v) q of signs [n, m], in the smallest type that holds -l^r to l^r."""
        return self.sums(signs.astype(np.float32)).astype(np.min_scalar_type(-(self.length**self.order)))


def manhattan(base: Array) -> Search:
    """Smallest l1 distance to float32 rows [n, p]."""
    index = faiss.IndexFlat(base.shape[1], faiss.METRIC_L1)
    index.add(np.ascontiguousarray(base, np.float32))
    return lambda queries, k: index.search(np.ascontiguousarray(queries, np.float32), k)[1]
