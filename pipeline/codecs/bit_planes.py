"""Bit planes: a code of any size of which every prefix is a code, entropy-coded. `bit_planes_<bits>`.

    y_j = r_j a_j . (x - mean),    |y_j| = 0.b_1 b_2 b_3 ... in binary, with a sign

The a_j are principal axes of the fit rows, and r_j = 2^(u_j) / t, so that |y_j| < 1. The planes b_1, b_2 ... are coded
one behind the other, each component by component, by an arithmetic coder (`binary_coder`): leading zeros by the chance
that such a component is still zero in that plane, then a sign, the first bit behind it by its chance, the others as
they are (Shapiro 1993 and Taubman 2000 for images; here the variances are known, so no trees are needed). Where the
bytes end, the code ends: a vector spends them on the components that are large in it, which a code with a fixed place
for each component cannot. Decoding takes the mean of what the known bits leave open.

The u_j are spread evenly over [0, 1) (multiples of the golden ratio), and the components of a plane go by rising u_j,
the coarsest bits first. So the size of what is known falls evenly from bit to bit, not by half from plane to plane.

Shared: `mean` float32 [d]; `axes` int8 [d, k] and `reach` float32 [k], r of the axes as stored, both without components
that no fit row has bits for; `zero`, `first` and `rise`, uint8 [k, PLANES]: the chances of a zero and of the first bit
behind the leading one, and where in its interval the mean of a component lies whose leading one is the last bit known.

Search: `asymmetric`, the cosine of the float query with the decoded row, block by block.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numba
import numpy as np

from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.codecs import asymmetric, binary_coder, principal_axes
from pipeline.codecs.binary_coder import HALF, LENGTH, READER, WRITER
from pipeline.codecs.layout import check_layout
from pipeline.stage import UserError

NAME = re.compile(r"bit_planes_([1-9]\d*)")
PLANES = 14  # of the largest component: 84 dB
GOLDEN = (5**0.5 - 1) / 2
RISE = 0.45  # where the mean lies in an interval of a falling density, before rows tell; as much as EARLIER rows
EARLIER = 4
BLOCK = 4096


@dataclass
class BitPlanes(StoredCodec):
    """`size` bytes a vector."""

    size: int = 0
    family: ClassVar[str] = "matryoshka"
    searches: ClassVar[tuple[str, ...]] = ("asymmetric",)
    _inverse: Array | None = field(default=None, repr=False)

    @property
    def ledger(self) -> dict[str, str]:
        """The axes decode; the rest is what the codes are of."""
        return {"axes": "decoder", "reach": "decoder"}

    def fit(self, x: Array) -> Self:
        dims = check_vectors(x).shape[1]
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = x - mean
        steps = np.arange(dims) * GOLDEN % 1
        axes = principal_axes.stored(centred)[0]
        y = centred.astype(np.float64) @ axes
        spread = np.sqrt(np.mean(y * y, axis=0))
        lengths = np.linalg.norm(axes.astype(np.float64), axis=0)
        largest = float(np.max(np.abs(y) / lengths, initial=0)) * (1 + 1e-6) * 2
        used = np.flatnonzero(spread > 0) if largest > 0 else np.zeros(1, np.int64)
        used = used[np.argsort(steps[used], kind="stable")] if len(used) else np.zeros(1, np.int64)
        reach = 2 ** steps[used] / (lengths[used] * (largest or 1))
        self.shared = {"mean": mean, "axes": axes[:, used], "reach": reach.astype(np.float32)}
        self._learn(self._numbers(x))
        kept = np.flatnonzero((self._read(self.encode(x))[0] > 0).any(axis=0))
        kept = kept if len(kept) else np.zeros(1, np.int64)
        for name in ("reach", "zero", "first", "rise"):
            self.shared[name] = self.shared[name][kept]
        self.shared["axes"] = np.ascontiguousarray(self.shared["axes"][:, kept])
        self._inverse = None
        return self

    def _numbers(self, x: Array) -> Array:
        """y in units of the last plane, float64 [n, k]."""
        return ((x - self.shared["mean"]) @ (self.shared["axes"] * self.shared["reach"])).astype(np.float64) * 2**PLANES

    def _learn(self, numbers: Array) -> None:
        """The chances and means of the fit rows' bits."""
        sizes = np.abs(numbers)
        whole = np.minimum(sizes, 2**PLANES - 1).astype(np.int32)
        shape = (whole.shape[1], PLANES)
        zero, first, rise = np.empty(shape, np.uint8), np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        for plane in range(PLANES):
            shift = PLANES - 1 - plane
            now, before = whole >> shift, whole >> (shift + 1)
            ones = np.count_nonzero(now == 1, axis=0)
            zero[:, plane] = binary_coder.chance_of(np.count_nonzero(now == 0, axis=0), ones)
            behind = np.count_nonzero((before == 1) & (now == 3), axis=0)
            first[:, plane] = binary_coder.chance_of(np.count_nonzero(now == 2, axis=0), behind)
            rises = np.where(now == 1, np.minimum(sizes / 2**shift - 1, 1), 0).sum(axis=0)
            rise[:, plane] = np.rint(255 * (rises + EARLIER * RISE) / (ones + EARLIER))
        self.shared |= {"zero": zero, "first": first, "rise": rise}

    def encode(self, x: Array) -> Codes:
        packed = np.zeros((len(check_vectors(x, len(self.shared["mean"]))), self.size), np.uint8)
        zero, first = (binary_coder.chances(self.shared[name]) for name in ("zero", "first"))
        for start in range(0, len(x), BLOCK):
            numbers = self._numbers(x[start : start + BLOCK])
            whole = np.minimum(np.abs(numbers), 2**PLANES - 1).astype(np.int32)
            _write(whole, numbers < 0, zero, first, packed[start : start + BLOCK])
        return Codes({"bytes": packed})

    def _read(self, codes: Codes) -> tuple[Array, Array, Array]:
        """Of each component: its known bits as a whole number, how many planes that is, and its sign; int32 [n, k]."""
        packed = check_layout(codes, self.name, {"bytes": (np.uint8, (self.size,))})["bytes"]
        zero, first = (binary_coder.chances(self.shared[name]) for name in ("zero", "first"))
        shape = (len(packed), len(self.shared["reach"]))
        known, planes, signs = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.ones(shape, np.int32)
        _read(np.ascontiguousarray(packed), zero, first, known, planes, signs)
        return known, planes, signs

    def decode(self, codes: Codes) -> Array:
        if self._inverse is None:
            self._inverse = principal_axes.inverse(self.shared["axes"], self.shared["reach"])
        rise = self.shared["rise"].astype(np.float32) / 255
        component = np.arange(len(rise))
        decoded = np.empty((len(codes), len(self.shared["mean"])), np.float32)
        for start in range(0, len(codes), BLOCK):
            known, planes, signs = self._read(codes.take(np.arange(start, min(start + BLOCK, len(codes)))))
            within = np.where(known == 1, rise[component, np.maximum(planes - 1, 0)], np.float32(0.5))
            y = np.where(known > 0, signs * (known + within), 0) * np.exp2(-planes.astype(np.float32))
            decoded[start : start + BLOCK] = y.astype(np.float32) @ self._inverse
        return decoded + self.shared["mean"]

    def searcher(self, rule: str, codes: Codes) -> Search:
        return asymmetric.cosine(codes, self.decode)


@numba.njit(cache=True)
def _write(whole, negative, zero, first, packed):  # type: ignore[no-untyped-def]
    state = np.empty(WRITER, np.int64)
    planes = zero.shape[1]
    for row in range(len(whole)):
        out = packed[row]
        binary_coder.start_writing(state)
        for plane in range(planes):
            for j in range(whole.shape[1]):
                now = whole[row, j] >> (planes - 1 - plane)
                if now < 2:
                    binary_coder.put(state, out, now == 1, zero[j, plane])
                    if now == 1:
                        binary_coder.put(state, out, negative[row, j], HALF)
                else:
                    binary_coder.put(state, out, now & 1 == 1, first[j, plane] if now < 4 else HALF)
            if state[LENGTH] >= len(out):  # bytes that are out are final, whatever comes
                break
        binary_coder.finish(state, out)


@numba.njit(cache=True)
def _read(packed, zero, first, known, depths, signs):  # type: ignore[no-untyped-def]
    state = np.empty(READER, np.int64)
    for row in range(len(packed)):
        code = packed[row]
        binary_coder.start_reading(state, code)
        ended = False
        for plane in range(zero.shape[1]):
            for j in range(zero.shape[0]):
                before = known[row, j]
                chance = zero[j, plane] if before == 0 else first[j, plane] if before == 1 else HALF
                bit = binary_coder.get(state, code, chance)
                sign = 0
                if bit == 1 and before == 0:
                    sign = binary_coder.get(state, code, HALF)
                if bit < 0 or sign < 0:
                    ended = True
                    break
                known[row, j] = 2 * before + bit
                depths[row, j] = plane + 1
                if sign:
                    signs[row, j] = -1
            if ended:
                break


def build(name: str, seed: int) -> Codec:
    """`bit_planes_<bits>`, a multiple of 8. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) % 8 or int(found[1]) > 2**16:
        form = "bit_planes_<bits>, a multiple of 8 up to 65,536"
        raise UserError(f"representations: bit_planes has no codec {name!r}; its names are {form}")
    return BitPlanes(name, seed, size=int(found[1]) // 8)
