"""Sign bits with a linear decoder solved in closed form, its weights in float32, int8 or trits.

The bits are those of `sign_centered`, b_j = sign(x_j - mean_j) = +-1: their cells say less about a value than all bits
of the row together. The decoder is ridge regression on the fit rows (Hoerl & Kennard 1970),

    x' = mean + b W,    W = (B^T B + lambda I)^-1 B^T (X - mean),

lambda the best of a grid on a fifth of the fit rows that the weights were not solved on. W is [d, d] and is shared; on
a small table it costs as much as the codes. So its off-diagonal part is also stored as int8 (a scale a column) and as
trits (`ternary_weights`), the diagonal, which carries most of a value, as float32 in both. What that costs in fidelity
stands in the table. Search: `hamming` on the bits.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.codecs import bits, exhaustive
from pipeline.codecs.ternary_weights import restore_weights, ternarize_weights
from pipeline.stage import UserError

RIDGES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # times the number of rows
NAMES = ("sign_ridge", "sign_ridge_int8", "sign_ridge_ternary")


def solve_ridge(b: Array, z: Array, seed: int) -> Array:
    """float64 [bits, d], the ridge weights from +-1 bits [n, bits] to z [n, d], by the best lambda of the grid."""
    held = np.random.default_rng(seed).permutation(len(b)) < len(b) // 5
    b, z = b.astype(np.float64), z.astype(np.float64)
    # One eigendecomposition serves every lambda: (C + lambda I)^-1 = V (Lambda + lambda)^-1 V^T.
    values, vectors = np.linalg.eigh(b[~held].T @ b[~held])
    right, left = vectors.T @ (b[~held].T @ z[~held]), b[held] @ vectors

    def error(ridge: float) -> float:
        return float(np.sum((z[held] - left @ (right / (values + ridge * len(b))[:, None])) ** 2))

    ridge = min(RIDGES, key=error)
    return np.linalg.solve(b.T @ b + ridge * len(b) * np.eye(b.shape[1]), b.T @ z)


@dataclass
class SignRidge(StoredCodec):
    """ceil(d / 8) bytes a vector; `mean` float32 [d] and the weights are shared."""

    family: ClassVar[str] = "binary"
    searches: ClassVar[tuple[str, ...]] = ("hamming",)
    compares: ClassVar[tuple[str, ...]] = ("hamming",)

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        z = x - mean
        weights = solve_ridge(np.where(z > 0, 1.0, -1.0), z, self.seed)
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
        return bits.signs(codes["bits"], len(self.shared["mean"])) @ self.weights() + self.shared["mean"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        by_bits = exhaustive.hamming(codes["bits"])
        return lambda queries, k: by_bits(self.encode(queries)["bits"], k)

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(a["bits"], b["bits"], len(self.shared["mean"]))


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
