"""Bit planes: a code of any size of which every prefix is a code, entropy-coded. `bit_planes_<bits>`.

    y_j = r_j a_j . (x - mean),    |y_j| = 0.b_1 b_2 b_3 ... in binary, with a sign

The a_j are principal axes of the fit rows, and r_j = 2^(u_j) / t, so that |y_j| < 1. Its bits are decisions, ordered by
how far each lets the squared error fall (`bit_plane_order`), coded by their chances (`binary_coder`). Where the bytes
end, the code ends: a vector spends them on the components that are large in it, which a code with a fixed place for
each component cannot. Decoding takes the mean of what the known bits leave open. Embedded coding of images is the same
(Shapiro 1993, Taubman 2000); here the variances are known, so no trees are needed.

The u_j are spread evenly over [0, 1) (multiples of the golden ratio), so that what is known gets finer evenly from
decision to decision, not by half from plane to plane.

Shared: `mean` float32 [d]; `axes` int8 [d, k] and `reach` float32 [k], r of the axes as stored, both without components
that no fit row has bits for; `order` uint16 or uint32, `zero`, `first` and `rise` uint8 [k, planes] (see
`bit_plane_order.Model`); `bytes` uint32 [1], the size, smaller than the name's where the data hold no more.

Search: `asymmetric` and `funnel` (see `nested`).
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import stage
from pipeline.codec import Array, Codec, Codes, check_vectors
from pipeline.codecs import principal_axes
from pipeline.codecs.bit_plane_coder import Decisions, decisions, limits, read, write
from pipeline.codecs.bit_plane_order import KINDS, PLANES, Model, cut, learn
from pipeline.codecs.nested import BLOCK, Nested
from pipeline.layout import check_layout
from pipeline.stage import UserError

NAME = re.compile(r"bit_planes_([1-9][0-9]*)")
GOLDEN = (5**0.5 - 1) / 2


@dataclass
class BitPlanes(Nested):
    """At most budget / 8 bytes a vector."""

    array: ClassVar[str] = "bytes"
    emphasis: float = 0.0  # an error is weighed by its component's variance to this power

    @property
    def bits(self) -> int:
        """Bits of a vector: the budget, or fewer where the data hold no more."""
        return 8 * self.size

    @property
    def size(self) -> int:
        """Bytes of a vector."""
        return int(self.shared["bytes"][0])

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = x - mean
        axes = principal_axes.stored(centred)[0]
        lengths = np.linalg.norm(axes.astype(np.float64), axis=0)
        sizes = np.abs(centred.astype(np.float64) @ axes) / lengths
        used = np.flatnonzero(sizes.any(axis=0)) if sizes.any() else np.zeros(1, np.int64)
        weight = self._weight(sizes[:, used])
        reach = weight * 2 ** (used * GOLDEN % 1) / (2.001 * ((sizes[:, used] * weight).max() or 1))
        axes, stored = axes[:, used], (reach / lengths[used]).astype(np.float32)
        self.shared = {"mean": mean, "axes": axes, "reach": stored}
        self._keep(learn(np.abs(self._numbers(x)), reach / weight), self.budget // 8)
        count, size = self._needed(x)
        if size < self.budget // 8:
            self._say_shorter(size)
        model, kept = cut(self._model(), count)
        self.shared |= {"axes": np.ascontiguousarray(axes[:, kept]), "reach": stored[kept]}
        self._keep(model, size)
        return self

    def _say_shorter(self, size: int) -> None:
        """Say that codes have `size` bytes, fewer than were asked for."""
        most = f"{size} byte{'s' if size > 1 else ''}"
        stage.log.warning("%s: the vectors hold %s at most, not %d", self.name, most, self.budget // 8)

    def _weight(self, sizes: Array) -> Array:
        """What a component's error counts, in the order of decisions, as if it were so many times as long."""
        spread = np.sqrt(np.mean(sizes * sizes, axis=0))
        return (spread / (spread.max() or 1)) ** self.emphasis

    def _keep(self, model: Model, size: int) -> None:
        self.shared |= model._asdict()
        kind = np.uint16 if model.zero.size * KINDS <= 2**16 else np.uint32
        self.shared |= {"order": model.order.astype(kind), "bytes": np.array([size], np.uint32)}
        self._inverse = None

    def _model(self) -> Model:
        """Raises UserError where decisions are of components or planes that are not there: loops do not check."""
        model = Model(*(self.shared[name] for name in Model._fields))
        tables = {table.shape for table in model[1:]}
        if tables != {(len(self.shared["reach"]), model.zero.shape[1])} or model.zero.shape[1] > PLANES:
            raise UserError(f"{self.name}: zero, first and rise are not {len(self.shared['reach'])} components' tables")
        if model.order.max(initial=0) >= model.zero.size * KINDS:
            raise UserError(f"{self.name}: order has a decision beyond the tables")
        return model._replace(order=model.order.astype(np.int64))

    def _numbers(self, x: Array) -> Array:
        """y, float64 [n, k]."""
        return ((x - self.shared["mean"]) @ (self.shared["axes"] * self.shared["reach"])).astype(np.float64)

    def _needed(self, x: Array) -> tuple[int, int]:
        """How many decisions, and how many bytes, the longest code of these rows takes."""
        asked = decisions(self._model())
        blocks = range(0, len(x), BLOCK)
        ends = [self._write(x[start : start + BLOCK], asked)[1].max(axis=0) for start in blocks]
        taken, size = np.max(ends, axis=0)
        return int(taken), int(size) if taken else 1

    def _write(self, x: Array, asked: Decisions) -> tuple[Array, Array]:
        """Codes uint8 [n, size] and where each ended (see `bit_plane_coder.write`)."""
        y, planes = self._numbers(x), self.shared["zero"].shape[1]
        whole = np.minimum(np.abs(y) * 2**planes, limits(asked, y.shape[1], planes)).astype(np.int32)
        packed = np.zeros((len(x), self.size), np.uint8)
        return packed, write(whole, y < 0, planes, asked, packed)

    def encode(self, x: Array) -> Codes:
        check_vectors(x, len(self.shared["mean"]))
        asked = decisions(self._model())
        blocks = range(0, len(x), BLOCK)
        return Codes({"bytes": np.concatenate([self._write(x[start : start + BLOCK], asked)[0] for start in blocks])})

    def checked(self, codes: Codes) -> Array:
        return check_layout(codes, self.name, {"bytes": (np.uint8, (self.size,))})["bytes"]

    def values(self, packed: Array) -> Array:
        rise = self.shared["rise"].astype(np.float32) / 255
        known, planes, signs = read(packed, len(rise), decisions(self._model()))
        within = np.where(known == 1, rise[np.arange(len(rise)), np.maximum(planes - 1, 0)], np.float32(0.5))
        y = np.where(known > 0, signs * (known + within), 0) * np.exp2(-planes.astype(np.float32))
        return y.astype(np.float32)

    def prefix(self, bits: int) -> "BitPlanes":
        """The codec of the first `bits` bits: its codes are the first bits / 8 bytes of this one's.

        Raises UserError for a size that is no prefix.
        """
        if bits % 8 or not 1 <= bits // 8 <= self.size:
            raise UserError(f"{self.name}: {bits} bits are no prefix of {self.size} bytes")
        shared = {**self.shared, "bytes": np.array([bits // 8], np.uint32)}
        return BitPlanes(f"bit_planes_{bits}", self.seed, shared, bits)


def build(name: str, seed: int) -> Codec:
    """`bit_planes_<bits>`, a multiple of 8. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) % 8 or int(found[1]) > 2**16:
        form = "bit_planes_<bits>, a multiple of 8 up to 65,536"
        raise UserError(f"representations: bit_planes has no codec {name!r}; its names are {form}")
    return BitPlanes(name, seed, budget=int(found[1]))
