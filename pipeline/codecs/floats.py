"""Floating point: float32 (the reference, bit for bit), float16, and plain truncation to the first k dimensions.

`truncate_<k>` keeps the first k values as float32 and decodes the rest as zeros: what a Matryoshka-trained model is
made for, and the control for every model that is not.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, StoredCodec, check_vectors
from pipeline.stage import UserError


@dataclass
class Float(StoredCodec):
    """Values stored as IEEE 754 numbers of `dtype`; rounding is to nearest even."""

    dtype: str = "float32"
    family: ClassVar[str] = "float"
    learns: ClassVar[bool] = False

    def fit(self, x: Array) -> Self:
        check_vectors(x)
        return self

    def encode(self, x: Array) -> Codes:
        return Codes({"values": check_vectors(x).astype(self.dtype)})

    def decode(self, codes: Codes) -> Array:
        return codes["values"].astype(np.float32)


class Float32(Float):
    """The source's own values, bit for bit: the reference that every other row is measured against."""

    lossless: ClassVar[bool] = True


@dataclass
class Truncation(StoredCodec):
    """The first `kept` values of each row, as float32. `dims` is how many zeros decoding puts behind them."""

    kept: int = 0
    family: ClassVar[str] = "float"
    learns: ClassVar[bool] = False

    def fit(self, x: Array) -> Self:
        if check_vectors(x).shape[1] <= self.kept:
            raise NotApplicableError(f"{self.name} of {x.shape[1]} dimensions leaves nothing out")
        self.shared = {"dims": np.array([x.shape[1]], np.int32)}
        return self

    def encode(self, x: Array) -> Codes:
        return Codes({"values": check_vectors(x, int(self.shared["dims"][0]))[:, : self.kept].copy()})

    def decode(self, codes: Codes) -> Array:
        whole = np.zeros((len(codes), int(self.shared["dims"][0])), np.float32)
        whole[:, : self.kept] = codes["values"]
        return whole


def build(name: str, seed: int) -> Codec:
    """`float32`, `float16` or `truncate_<k>`. Raises UserError for any other name."""
    if name == "float32":
        return Float32(name, seed)
    if name == "float16":
        return Float(name, seed, dtype="float16")
    if found := re.fullmatch(r"truncate_([1-9]\d*)", name):
        return Truncation(name, seed, kept=int(found[1]))
    raise UserError(f"representations: floats has no codec {name!r}; it has float32, float16 and truncate_<k>")
