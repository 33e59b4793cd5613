"""Scalar quantization: each value to a small integer, by a step that each dimension has for itself.

With low and high the extremes of dimension j over the fit rows and L = 2^bits - 1 levels above zero,

    q = clip(round((x - low_j) / step_j), 0, L),    x' = low_j + q step_j,    step_j = (high_j - low_j) / L,

so the error is at most half a step inside the range seen, and values beyond it are clipped to its ends.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, StoredCodec, check_vectors
from pipeline.stage import UserError

LEVELS = 255  # int8: one byte a value


@dataclass
class Int8(StoredCodec):
    """One byte a value; `low` and `step` float32 [d] are shared."""

    family: ClassVar[str] = "scalar"

    def fit(self, x: Array) -> Self:
        low = check_vectors(x).min(axis=0)
        self.shared = {"low": low, "step": (x.max(axis=0) - low) / np.float32(LEVELS)}
        return self

    def encode(self, x: Array) -> Codes:
        low, step = self.shared["low"], self.shared["step"]
        with np.errstate(over="ignore"):  # far beyond a range of almost nothing: infinite, and then clipped
            steps = np.divide(check_vectors(x, len(low)) - low, step, out=np.zeros_like(x), where=step > 0)
        return Codes({"levels": np.clip(np.rint(steps), 0, LEVELS).astype(np.uint8)})

    def decode(self, codes: Codes) -> Array:
        return codes["levels"] * self.shared["step"] + self.shared["low"]


def build(name: str, seed: int) -> Codec:
    """`int8`. Raises UserError for any other name."""
    if name == "int8":
        return Int8(name, seed)
    raise UserError(f"representations: scalar has no codec {name!r}; it has int8")
