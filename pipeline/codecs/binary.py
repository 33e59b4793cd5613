"""Sign bits: one bit a dimension, above or below a threshold, with and without centring.

`sign` thresholds at zero, `sign_centered` at the mean of the fit rows (ada-002's dimension 194 has a mean of 0.64 in
absolute value: without centring its bit says nothing). Decoding gives the mean of the fit rows on the bit's side of
the threshold, the reconstruction of least squared error for these cells (Lloyd 1982).

Search rules: `hamming` on the bits of query and base; `asymmetric`, the inner product of the centred float query with
the base's +-1 vectors, which asks for no more storage.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import bits, exhaustive
from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.layout import check_layout, check_padding
from pipeline.stage import UserError


@dataclass
class Sign(StoredCodec):
    """ceil(d / 8) bytes a vector; `threshold`, `below` and `above`, float32 [d], are shared."""

    centered: bool = False
    family: ClassVar[str] = "binary"
    searches: ClassVar[tuple[str, ...]] = ("hamming", "asymmetric")
    compares: ClassVar[tuple[str, ...]] = ("hamming",)

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64)
        threshold = (mean if self.centered else np.zeros_like(mean)).astype(np.float32)
        high = x > threshold
        count = high.sum(axis=0)
        sum_high = np.where(high, x, 0).sum(axis=0, dtype=np.float64)
        sum_low = mean * len(x) - sum_high
        # A side that no fit row is on decodes to the threshold itself.
        above = np.divide(sum_high, count, out=threshold.astype(np.float64), where=count > 0)
        below = np.divide(sum_low, len(x) - count, out=threshold.astype(np.float64), where=count < len(x))
        self.shared = {"threshold": threshold, "below": below.astype(np.float32), "above": above.astype(np.float32)}
        return self

    def encode(self, x: Array) -> Codes:
        threshold = self.shared["threshold"]
        return Codes({"bits": bits.pack(check_vectors(x, len(threshold)) > threshold)})

    def _bits(self, codes: Codes) -> Array:
        dims = len(self.shared["threshold"])
        packed = check_layout(codes, self.name, {"bits": (np.uint8, (-(-dims // 8),))})["bits"]
        check_padding(packed, dims, self.name)
        return packed

    def decode(self, codes: Codes) -> Array:
        high = bits.unpack(self._bits(codes), len(self.shared["threshold"]))
        return np.where(high, self.shared["above"], self.shared["below"])

    def searcher(self, rule: str, codes: Codes) -> Search:
        threshold = self.shared["threshold"]
        if rule == "hamming":
            by_bits = exhaustive.hamming(self._bits(codes))
            return lambda queries, k: by_bits(self.encode(queries)["bits"], k)
        by_signs = exhaustive.inner_product(bits.signs(self._bits(codes), len(threshold)))
        return lambda queries, k: by_signs(queries - threshold, k)

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(self._bits(a), self._bits(b), len(self.shared["threshold"]))


def build(name: str, seed: int) -> Codec:
    """`sign` or `sign_centered`. Raises UserError for any other name."""
    if name in ("sign", "sign_centered"):
        return Sign(name, seed, centered=name == "sign_centered")
    raise UserError(f"representations: binary has no codec {name!r}; it has sign and sign_centered")
