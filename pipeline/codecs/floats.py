"""Floating point: float32 (the reference, bit for bit), float16, plain truncation to the first k dimensions, and the
first k principal components.

`truncate_<k>` keeps the first k values as float32 and decodes the rest as zeros: what a Matryoshka-trained model is
made for, and the control for every model that is not. `pca_<k>` keeps the k values that a linear code can keep best.

float32 and float16 share nothing, not even the number of dimensions, so that the reference costs what it costs and no
byte more. Codes of another width therefore decode to rows of that width; of another type they are refused.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, StoredCodec, check_vectors, dimensions
from pipeline.codecs import principal_axes
from pipeline.layout import check_layout
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
        layout = {"values": (np.dtype(self.dtype).type, (None,))}
        return check_layout(codes, self.name, layout)["values"].astype(np.float32)


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
            raise NotApplicableError(f"{self.name} of {dimensions(x.shape[1])} leaves nothing out")
        self.shared = {"dims": np.array([x.shape[1]], np.int32)}
        return self

    def encode(self, x: Array) -> Codes:
        return Codes({"values": check_vectors(x, int(self.shared["dims"][0]))[:, : self.kept].copy()})

    def decode(self, codes: Codes) -> Array:
        whole = np.zeros((len(codes), int(self.shared["dims"][0])), np.float32)
        whole[:, : self.kept] = check_layout(codes, self.name, {"values": (np.float32, (self.kept,))})["values"]
        return whole


@dataclass
class PrincipalComponents(StoredCodec):
    """Coordinates along the first `kept` principal axes of the fit rows, float32; `mean` [d] and `axes` [d, k] shared.

    z = (x - mean) A,  x' = mean + z A^T: the least mean |x - x'|^2 of all linear codes of k values (Pearson 1901).
    """

    kept: int = 0
    family: ClassVar[str] = "float"

    def fit(self, x: Array) -> Self:
        if check_vectors(x).shape[1] <= self.kept:
            raise NotApplicableError(f"{self.name} of {dimensions(x.shape[1])} leaves nothing out")
        mean = x.mean(axis=0, dtype=np.float64)
        centred = x - mean
        axes = principal_axes.of(centred)[0][:, : self.kept]
        self.shared = {"mean": mean.astype(np.float32), "axes": axes.astype(np.float32)}
        return self

    def encode(self, x: Array) -> Codes:
        mean = self.shared["mean"]
        return Codes({"values": (check_vectors(x, len(mean)) - mean) @ self.shared["axes"]})

    def decode(self, codes: Codes) -> Array:
        z = check_layout(codes, self.name, {"values": (np.float32, (self.kept,))})["values"]
        return z @ self.shared["axes"].T + self.shared["mean"]


def build(name: str, seed: int) -> Codec:
    """`float32`, `float16`, `truncate_<k>` or `pca_<k>`. Raises UserError for any other name."""
    if name == "float32":
        return Float32(name, seed)
    if name == "float16":
        return Float(name, seed, dtype="float16")
    if found := re.fullmatch(r"truncate_([1-9][0-9]*)", name):
        return Truncation(name, seed, kept=int(found[1]))
    if found := re.fullmatch(r"pca_([1-9][0-9]*)", name):
        return PrincipalComponents(name, seed, kept=int(found[1]))
    raise UserError(f"representations: floats has no codec {name!r}; it has float32, float16, truncate_<k> and pca_<k>")
