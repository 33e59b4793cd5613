"""Sign bits with a linear decoder solved in closed form, its weights in float32, int8 or trits.

The bits are those of `sign_centered`, b_j = sign(x_j - mean_j) = +-1: their cells say less about a value than all bits
of the row together. The decoder is solved for on the fit rows (`ridge`),

    x' = mean + b W,    W = (B^T B + a I)^-1 B^T (X - mean).

W is [d, d] and is shared; on a small table it costs as much as the codes. So its off-diagonal part is also stored as
int8 (a scale a column) and as trits (`ternary_weights`), the diagonal, which carries most of a value, as float32 in
both. What that costs in fidelity stands in the table. Search: `hamming` on the bits.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import bits, exhaustive
from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.codecs import ridge
from pipeline.codecs.ternary_weights import restore_weights, ternarize_weights
from pipeline.layout import check_layout, check_padding
from pipeline.stage import UserError

NAMES = ("sign_ridge", "sign_ridge_int8", "sign_ridge_ternary")


@dataclass
class SignRidge(StoredCodec):
    """ceil(d / 8) bytes a vector; `mean` float32 [d] and the weights are shared."""

    family: ClassVar[str] = "binary"
    searches: ClassVar[tuple[str, ...]] = ("hamming",)
    compares: ClassVar[tuple[str, ...]] = ("hamming",)

    @property
    def ledger(self) -> dict[str, str]:
        """What each shared array counts as: all but the mean, which the encoder needs, is the `decoder`."""
        return {name: "codebook" if name == "mean" else "decoder" for name in self.shared}

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        z = x - mean
        weights = ridge.solve(np.where(z > 0, 1.0, -1.0), z)
        self.shared = {"mean": mean, **self._stored(weights)}
        return self

    def _stored(self, weights: Array) -> dict[str, Array]:
        return {"weights": weights.astype(np.float32)}

    def weights(self) -> Array:
        """float32 [d, d], from a bit's +-1 to the values."""
        return self.shared["weights"]

    def encode(self, x: Array) -> Codes:
        mean = self.shared["mean"]
        return Codes({"bits": bits.pack(check_vectors(x, len(mean)) > mean)})

    def decode(self, codes: Codes) -> Array:
        return bits.signs(self._bits(codes), len(self.shared["mean"])) @ self.weights() + self.shared["mean"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        by_bits = exhaustive.hamming(self._bits(codes))
        return lambda queries, k: by_bits(self.encode(queries)["bits"], k)

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(self._bits(a), self._bits(b), len(self.shared["mean"]))

    def _bits(self, codes: Codes) -> Array:
        """The packed bits. Raises UserError for codes that are not this codec's."""
        dims = len(self.shared["mean"])
        packed: Array = check_layout(codes, self.name, {"bits": (np.uint8, (-(-dims // 8),))})["bits"]
        check_padding(packed, dims, self.name)
        return packed


class SignRidgeInt8(SignRidge):
    """Shared: `diagonal` float32 [d], `levels` int8 [d, d], `scale` float32 [d], one a column."""

    def _stored(self, weights: Array) -> dict[str, Array]:
        diagonal, rest = _apart(weights)
        scale = np.abs(rest).max(axis=0) / 127
        levels = np.rint(np.divide(rest, scale, out=np.zeros_like(rest), where=scale > 0)).astype(np.int8)
        return {"diagonal": diagonal, "levels": levels, "scale": scale.astype(np.float32)}

    def weights(self) -> Array:
        return self.shared["levels"] * self.shared["scale"] + np.diag(self.shared["diagonal"])


class SignRidgeTernary(SignRidge):
    """Shared: `diagonal` float32 [d], `trits` uint8 [d, ceil(d / 5)] and `scale` float16, one for 128 weights."""

    def _stored(self, weights: Array) -> dict[str, Array]:
        diagonal, rest = _apart(weights)
        packed, scale = ternarize_weights(rest)
        return {"diagonal": diagonal, "trits": packed, "scale": scale}

    def weights(self) -> Array:
        rest = restore_weights(self.shared["trits"], self.shared["scale"], len(self.shared["mean"]))
        return rest + np.diag(self.shared["diagonal"])


def _apart(weights: Array) -> tuple[Array, Array]:
    """The diagonal, float32 [d], and the weights without it."""
    return np.diag(weights).astype(np.float32), weights - np.diag(np.diag(weights))


def build(name: str, seed: int) -> Codec:
    """`sign_ridge`, `sign_ridge_int8` or `sign_ridge_ternary`. Raises UserError for any other name."""
    kinds = dict(zip(NAMES, (SignRidge, SignRidgeInt8, SignRidgeTernary), strict=True))
    if name in kinds:
        return kinds[name](name, seed)
    raise UserError(f"representations: linear_decoder has no codec {name!r}; it has {', '.join(NAMES)}")
