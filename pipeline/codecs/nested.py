"""What codes of principal components have in common of which every prefix is a code: how they are searched and decoded.

Search: `asymmetric`, the cosine of the float query with the decoded row, block by block; `funnel`, the same of a
quarter of the code for a shortlist, then of the whole.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from pipeline import asymmetric
from pipeline.codec import Array, Codes, Search, StoredCodec
from pipeline.codecs import funnel, principal_axes
from pipeline.stage import UserError

BLOCK = 4096  # rows at a time: what they are unpacked to takes many times their memory


@dataclass
class Nested(StoredCodec, ABC):
    """Codes are one array `array`, uint8 [n, ceil(bits / 8)]. `axes` and `reach` are shared (see `principal_axes`)."""

    budget: int = 0  # bits that were asked for
    array: ClassVar[str]
    family: ClassVar[str] = "matryoshka"
    asymmetric_is_cosine: ClassVar[bool] = True
    _inverse: Array | None = field(default=None, repr=False)

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of a vector: the budget, or fewer where the data hold no more."""

    @abstractmethod
    def prefix(self, bits: int) -> Self:
        """The codec of the first `bits` bits. Raises UserError for a size that is no prefix."""

    @abstractmethod
    def fit(self, x: Array) -> Self:
        """Fit on rows x, float32 [n, d]. Raises UserError for rows that are no usable vectors."""

    @abstractmethod
    def encode(self, x: Array) -> Codes:
        """The codes of rows x, float32 [n, d]. Raises UserError for rows of another shape or kind."""

    @abstractmethod
    def values(self, packed: Array) -> Array:
        """What some rows of codes say of the components, float32 [n, k]."""

    def rows(self, values: Array) -> Array:
        """Rows, float32 [n, d], from what is known of their components, float32 [n, k]."""
        return values @ self.backward() + self.shared["mean"]

    def decode(self, codes: Codes) -> Array:
        """Rows, float32 [n, d]. Raises UserError for codes of another codec."""
        packed = self.checked(codes)
        decoded = np.empty((len(codes), len(self.shared["mean"])), np.float32)
        for start in range(0, len(codes), BLOCK):
            decoded[start : start + BLOCK] = self.rows(self.values(packed[start : start + BLOCK]))
        return decoded

    @abstractmethod
    def checked(self, codes: Codes) -> Array:
        """The codes' array. Raises UserError for codes of another codec."""

    @property
    def searches(self) -> tuple[str, ...]:
        """Long codes can be searched by a prefix first."""
        return ("asymmetric", "funnel") if self.bits >= funnel.FEWEST_BITS else ("asymmetric",)

    @property
    def ledger(self) -> dict[str, str]:
        """The axes decode; the rest is what the codes are of."""
        return {"axes": "decoder", "reach": "decoder"}

    def backward(self) -> Array:
        """From components to rows, float32 [k, d]."""
        if self._inverse is None:
            self._inverse = principal_axes.inverse(self.shared["axes"], self.shared["reach"])
        return self._inverse

    def searcher(self, rule: str, codes: Codes) -> Search:
        packed = self.checked(codes)
        if rule == "asymmetric":
            return asymmetric.cosine(codes, self.decode)
        if rule != "funnel":
            raise UserError(f"{self.name} has no search rule {rule!r}")
        prefix = self.prefix(8 * (self.bits // 8 // funnel.PART))
        first = Codes({self.array: packed[:, : prefix.bits // 8]})
        return funnel.search(asymmetric.cosine(first, prefix.decode), codes, self.decode)
