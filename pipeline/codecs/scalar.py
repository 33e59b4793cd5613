"""Scalar quantization: each value to a small integer, by a step that each dimension has for itself.

With b bits, L = 2^b - 1, and low_j and step_j of dimension j,

    q = clip(round((x - low_j) / step_j), 0, L),    x' = low_j + q step_j.

`int8`: low and high are the extremes over the fit rows, step = (high - low) / L, so the error is at most half a step
inside the range seen, and values beyond it are clipped to its ends. 255 steps are fine enough for any range.

`int4` and `int5` (two values a byte, eight values in five bytes): so few steps are not spent on the extremes. The
range is the one of least squared error on the fit rows, found for each dimension (Max 1960: 16 even steps of a Gaussian
end at 2.5 standard deviations, 32 at 2.9).

Search: `asymmetric` for the packed ones, the cosine of the float query with the decoded row, block by block.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import asymmetric
from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.layout import check_layout, check_padding
from pipeline.stage import UserError

LEVELS = 255  # int8: one byte a value
PACKED = {"int4": 4, "int5": 5}
CUTS = np.linspace(1.4, 6, 24)  # standard deviations
MOVES = np.array([-0.12, -0.08, -0.04, 0.04, 0.08, 0.12])
SAMPLE = 4096  # fit rows that the range is chosen by
GROUP = 8  # values that fill whole bytes together: `width` bytes, one 64-bit word


def quantize(x: Array, low: Array, step: Array, largest: int) -> Array:
    """uint8 [n, d], 0 to `largest`; 0 where the step is."""
    with np.errstate(over="ignore"):  # far beyond a range of almost nothing: infinite, and then clipped
        steps = np.divide(x - low, step, out=np.zeros_like(x), where=step > 0)
    return np.clip(np.rint(steps), 0, largest).astype(np.uint8)


def pack(levels: Array, width: int) -> Array:
    """uint8 [n, d] of `width` bits each -> uint8 [n, ceil(d width / 8)], the highest bit of the first value first."""
    count, dims = levels.shape
    words = np.zeros((count, -(-dims // GROUP)), np.uint64)
    for place in range(GROUP):
        some = levels[:, place::GROUP]
        words[:, : some.shape[1]] |= some.astype(np.uint64) << np.uint64(width * (GROUP - 1 - place))
    packed = np.empty((count, words.shape[1] * width), np.uint8)
    for byte in range(width):
        packed[:, byte::width] = words >> np.uint64(8 * (width - 1 - byte))
    return packed[:, : -(-dims * width // 8)].copy()


def unpack(packed: Array, dims: int, width: int) -> Array:
    """uint8 [n, dims] from what `pack` made. Raises UserError for another number of bytes."""
    expected = -(-dims * width // 8)
    if packed.shape[1:] != (expected,):
        raise UserError(f"codes of shape {packed.shape}: {dims} values of {width} bits are {expected} bytes")
    words = np.zeros((len(packed), -(-dims // GROUP)), np.uint64)
    for byte in range(width):
        some = packed[:, byte::width]
        words[:, : some.shape[1]] |= some.astype(np.uint64) << np.uint64(8 * (width - 1 - byte))
    levels = np.empty((len(packed), words.shape[1] * GROUP), np.uint8)
    for place in range(GROUP):
        levels[:, place::GROUP] = words >> np.uint64(width * (GROUP - 1 - place)) & np.uint64(2**width - 1)
    return levels[:, :dims].copy()


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
        return Codes({"levels": quantize(check_vectors(x, len(low)), low, step, LEVELS)})

    def decode(self, codes: Codes) -> Array:
        levels = check_layout(codes, self.name, {"levels": (np.uint8, self.shared["low"].shape)})["levels"]
        return levels * self.shared["step"] + self.shared["low"]


@dataclass
class Packed(StoredCodec):
    """`width` bits a value, without gaps; `low` and `step` float32 [d] are shared."""

    width: int = 4
    family: ClassVar[str] = "scalar"
    searches: ClassVar[tuple[str, ...]] = ("asymmetric",)
    asymmetric_is_cosine: ClassVar[bool] = True

    def fit(self, x: Array) -> Self:
        low, step = best_range(check_vectors(x)[:SAMPLE], 2**self.width - 1)
        self.shared = {"low": low, "step": step}
        return self

    def encode(self, x: Array) -> Codes:
        low, step = self.shared["low"], self.shared["step"]
        levels = quantize(check_vectors(x, len(low)), low, step, 2**self.width - 1)
        return Codes({"levels": pack(levels, self.width)})

    def _packed(self, codes: Codes) -> Array:
        dims = len(self.shared["low"])
        packed = check_layout(codes, self.name, {"levels": (np.uint8, (-(-dims * self.width // 8),))})["levels"]
        check_padding(packed, dims * self.width, self.name)
        return packed

    def decode(self, codes: Codes) -> Array:
        levels = unpack(self._packed(codes), len(self.shared["low"]), self.width)
        return levels * self.shared["step"] + self.shared["low"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        self._packed(codes)
        return asymmetric.cosine(codes, self.decode)


def best_range(x: Array, largest: int) -> tuple[Array, Array]:
    """low and step, float32 [d], of the least squared error found.

    Tried are the extremes, the extremes cut off at so many standard deviations (`CUTS`), and then one end moved after
    the other by parts of what was found (`MOVES`).
    """
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    best = np.stack([x.min(axis=0) - mean, x.max(axis=0) - mean])

    def error(ends: Array) -> Array:
        low, step = mean + ends[0], (ends[1] - ends[0]) / np.float32(largest)
        return np.square(quantize(x, low, step, largest) * step + low - x).sum(axis=0, dtype=np.float64)

    spread = x.std(axis=0, dtype=np.float64).astype(np.float32)
    least, found = error(best), best
    for cut in CUTS.astype(np.float32):
        tried = np.clip(best, -cut * spread, cut * spread)
        now = error(tried)
        found, least = np.where(now < least, tried, found), np.minimum(now, least)
    for moved in np.array([[1, 0], [0, 1]] * 2, np.float32):
        start = found
        for move in MOVES.astype(np.float32):
            tried = start * (1 + move * moved)[:, None]
            now = error(tried)
            found, least = np.where(now < least, tried, found), np.minimum(now, least)
    return mean + found[0], (found[1] - found[0]) / np.float32(largest)


def build(name: str, seed: int) -> Codec:
    """`int8`, `int5` or `int4`. Raises UserError for any other name."""
    if name == "int8":
        return Int8(name, seed)
    if name in PACKED:
        return Packed(name, seed, width=PACKED[name])
    raise UserError(f"representations: scalar has no codec {name!r}; it has int8, int5 and int4")
