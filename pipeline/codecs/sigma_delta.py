"""Sigma-delta codes: m bits of a vector of d < m values, by one-bit quantisation with feedback; the binary autoencoder.

    y = A (x - mean) / s,    q = modulator(y),    x' = mean + s F q (W)

Names are `sigma_delta_<order>_<bits>` and suffixes: order `greedy` (signs without feedback), `r1`, `r2` or `r3`.

- The frame A (`projection`): fast JL; `_sparse`: sparse Gaussian; `_smooth`: an oversampled cosine series.
- The decoder. `sigma_delta_r2_4096` is the solved one: the training-free decoder's output z = s F q goes through
  W [d, d], a ridge solved on the fit rows (float16, shared, counted). That is all that a linear decoder of all m bits
  could use if v was white: then z is a sufficient statistic of q for x. `sigma_delta_r2_4096_dual` is the training-free
  one: F the Sobolev dual (`dual`), made again from the seed. Shared there: the seed, the mean, one scale.
- Of `_smooth`, solved: the series' coefficients are principal components of the fit rows, the largest at the lowest
  frequency, where the shaped noise is least, and each is shrunk by its own factor (d x d float16 and d float32 shared,
  in W's place). `_dual`: x is turned at random instead.

Codes: ceil(m / 8) bytes and `level`, float16: the vector's scale s in units of the longest centred fit row, rounded up,
so that max|y| stays below the stable bound 2 - ||h||_1 and every vector is inside it, exactly. Greedy: s is the mean
of |A (x - mean)| instead.

Search, beside cosine with decoded rows: `native`, the l1 distance of condensed codes (`condensation`); `asymmetric`,
the same with the query's float sketch in place of its code; greedy has `hamming` instead, as LSH has. A smooth frame's
rows are no independent draws, so it has neither.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from pipeline import bits, exhaustive
from pipeline.codec import Array, Codec, Codes, NotApplicableError, Search, StoredCodec, check_vectors
from pipeline.codecs import condensation, dual, principal_axes, projection, ridge
from pipeline.layout import check_layout, check_padding
from pipeline.neurons import sigma_delta as modulator
from pipeline.stage import UserError

ORDERS = {"greedy": 0, "r1": 1, "r2": 2, "r3": 3}
WINDOWS = {1: 16, 2: 12, 3: 12}  # l by order: of 8 to 48 those of best recall on validation rows, 4,096 bits
NUMBER = "0|[1-9][0-9]*"  # one way to write it; \d would take other scripts' digits too
NAME = re.compile(f"sigma_delta_(greedy|r(?:{NUMBER}))_({NUMBER})(_sparse|_smooth)?(_dual)?")
ROWS = 256  # at a time, always: then a row's bits do not hang on what stands beside it, as they may in a BLAS
LARGEST_FITTED = 1e30  # norm: times what float16 holds, it is still a float32
LARGEST = float(np.finfo(np.float16).max)
SOLVED = ("weights", "basis", "gain")  # the shared arrays that are the decoder's; the encoder uses the basis too


def blocks(*arrays: Array) -> Iterator[tuple[int, list[Array]]]:
    """Row blocks of `ROWS`, the last filled up with zeros: (rows that count, blocks)."""
    for start in range(0, len(arrays[0]), ROWS):
        parts = [array[start : start + ROWS] for array in arrays]
        count = len(parts[0])
        yield count, [np.pad(part, [(0, ROWS - count)] + [(0, 0)] * (part.ndim - 1)) for part in parts]


@dataclass
class SigmaDelta(StoredCodec):
    """See the module. `order` 0 to 3, `steps` bits, `frame` "", "sparse" or "smooth", `solved` or training-free."""

    order: int = 1
    steps: int = 8
    frame: str = ""
    solved: bool = True
    family: ClassVar[str] = "sigma_delta"
    _decoder: Array | None = field(default=None, repr=False)

    @property
    def searches(self) -> tuple[str, ...]:
        if self.frame == "smooth":
            return ()
        return ("native", "asymmetric") if self.order else ("hamming",)

    @property
    def compares(self) -> tuple[str, ...]:
        return () if self.order else ("hamming",)

    @property
    def ledger(self) -> dict[str, str]:
        """What each shared array counts as: `decoder` what was solved for, the rest `codebook`."""
        return {name: "decoder" if name in SOLVED else "codebook" for name in self.shared}

    @property
    def window(self) -> condensation.Window:
        """The condensation: l as in WINDOWS, or shorter where that would leave fewer than 16 integers."""
        most = (self.steps // 16 - 1) // self.order + 1
        return condensation.Window(self.order, max(1, min(WINDOWS[self.order], most)), self.steps)

    def fit(self, x: Array) -> Self:
        dims = check_vectors(x).shape[1]
        if self.steps < dims:
            raise NotApplicableError(f"{self.name}: {self.steps} bits are fewer than {dims} dimensions")
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        seed, one = np.array([self.seed], np.uint64), np.ones(1, np.float32)
        self.shared, self._decoder = {"seed": seed, "mean": mean, "unit": one}, None
        centred = self._centred(x)
        largest = float(np.sqrt(np.einsum("nd,nd->n", centred, centred, dtype=np.float64).max()))
        if not largest < LARGEST_FITTED:
            raise UserError(f"{self.name}: vectors as long as {largest:g} are too large for float32")
        self.shared["unit"] = np.array([largest or 1], np.float32)
        if self.frame == "smooth" and self.solved:
            axes, _ = principal_axes.of(centred)
            self.shared |= {"basis": axes.astype(np.float16), "gain": np.ones(dims, np.float32)}
        if self.solved:
            free = self._free()
            self._solve(self._decoded(self.encode(x), free.astype(np.float32)), centred)
            self._decoder = np.ascontiguousarray(free @ self._solution(), np.float32)
        return self

    def _solve(self, found: Array, centred: Array) -> None:
        """W from what F makes of the fit rows' codes, float32 [n, d]."""
        if "basis" not in self.shared:
            self.shared["weights"] = ridge.solve(found, centred).astype(np.float16)
            return
        true = self._coefficients(centred).astype(np.float64)
        power = (found.astype(np.float64) ** 2).sum(axis=0)
        gain = np.divide((found * true).sum(axis=0), power, out=np.zeros(len(power)), where=power > 0)
        self.shared["gain"] = gain.astype(np.float32)

    def _centred(self, x: Array) -> Array:
        """Overflow becomes infinite here, and is refused where the scale is made."""
        with np.errstate(over="ignore"):
            return x - self.shared["mean"]

    def _coefficients(self, centred: Array) -> Array:
        """What the smooth frame's series has for coefficients, float32 [n, d]."""
        if "basis" in self.shared:
            return centred @ self.shared["basis"].astype(np.float32)
        return projection.turned(centred, self._drawn)

    @property
    def _drawn(self) -> int:
        """The seed that the frame is drawn from: the file's."""
        return int(self.shared["seed"][0])

    def _drive(self, centred: Array) -> Array:
        """A (x - mean), float32 [m, n]."""
        if self.frame == "smooth":
            return projection.oversampled(self._coefficients(centred), self.steps)
        draw = projection.sparse_gaussian if self.frame == "sparse" else projection.fast_jl
        return draw(centred, self.steps, self._drawn)

    def _scales(self, drive: Array) -> Array:
        """Each vector's s, float64 [n]."""
        size = np.abs(drive)
        limit = modulator.bound(self.order)
        if limit is None:
            return size.mean(axis=0, dtype=np.float64)
        return size.max(axis=0).astype(np.float64) / (float(limit) * modulator.BELOW)

    def encode(self, x: Array) -> Codes:
        check_vectors(x, len(self.shared["mean"]))
        packed = np.empty((len(x), -(-self.steps // 8)), np.uint8)
        levels = np.empty(len(x), np.float16)
        unit, start = float(self.shared["unit"][0]), 0
        for count, (part,) in blocks(self._centred(x)):
            drive = self._drive(part)
            level = _rounded_up(self._scales(drive) / unit, start)
            scale = (level.astype(np.float64) * unit).astype(np.float32)
            np.divide(drive, scale, out=drive, where=scale > 0)
            packed[start : start + count] = modulator.modulate(drive, self.order)[:count]
            levels[start : start + count] = level[:count]
            start += count
        return Codes({"bits": packed, "level": levels})

    def _checked(self, codes: Codes) -> Codes:
        """The codes themselves. Raises UserError for those that are not this codec's, or have a level that is none."""
        check_layout(codes, self.name, {"bits": (np.uint8, (-(-self.steps // 8),)), "level": (np.float16, ())})
        check_padding(codes["bits"], self.steps, self.name)
        level = codes["level"]
        if len(bad := np.flatnonzero(~(np.isfinite(level) & (level >= 0)))):
            raise UserError(f"{self.name}: damaged codes: the level of vector {bad[0]} is {level[bad[0]]}")
        return codes

    def _scale(self, level: Array) -> Array:
        return level.astype(np.float32) * self.shared["unit"]

    def _linear(self) -> Array:
        """The decoder F' W, float32 [m, d]: made when it is first needed, from the seed and what was solved for."""
        if self._decoder is None:
            self._decoder = np.ascontiguousarray(self._free() @ self._solution(), np.float32)
        return self._decoder

    def _free(self) -> Array:
        """F' float64 [m, d], the Sobolev dual. With a basis it leads to the series' coefficients."""
        unit = np.eye(len(self.shared["mean"]), dtype=np.float32)
        frame = projection.oversampled(unit, self.steps) if "basis" in self.shared else self._drive(unit)
        return dual.sobolev(frame, dual.noise_filter(self.order)).T

    def _solution(self) -> Array:
        """W float64 [d, d]; the identity where nothing has been solved for."""
        if "weights" in self.shared:
            return self.shared["weights"].astype(np.float64)
        if "basis" in self.shared:
            return self.shared["gain"][:, None] * self.shared["basis"].T.astype(np.float64)
        return np.eye(len(self.shared["mean"]))

    def decode(self, codes: Codes) -> Array:
        return self._decoded(self._checked(codes), self._linear()) + self.shared["mean"]

    def _decoded(self, codes: Codes, decoder: Array) -> Array:
        """q times a decoder float32 [m, d], times each vector's scale."""
        return np.concatenate(
            [
                ((bits.signs(packed, self.steps) @ decoder) * self._scale(level)[:, None])[:count]
                for count, (packed, level) in blocks(codes["bits"], codes["level"])
            ]
        )

    def condensed(self, codes: Codes) -> Array:
        """V q times each vector's scale, float32 [n, p], with V's factor: l1 distances estimate those of vectors."""
        window = self.window
        factor = self._scale(codes["level"]) * np.float32(window.factor)
        return np.concatenate(
            [
                (window.integers(bits.signs(packed, self.steps)) * scale[:, None])[:count]
                for count, (packed, scale) in blocks(codes["bits"], factor)
            ]
        )

    def _sketched(self, x: Array) -> Array:
        """V A (x - mean) without quantisation, float32 [n, p]."""
        window = self.window
        parts = blocks(self._centred(x))
        sums = np.concatenate([window.sums(self._drive(part).T)[:count] for count, (part,) in parts])
        return sums * np.float32(window.factor)

    def searcher(self, rule: str, codes: Codes) -> Search:
        self._checked(codes)
        if rule == "hamming":
            by_bits = exhaustive.hamming(codes["bits"])
            return lambda queries, k: by_bits(self.encode(queries)["bits"], k)
        by_sums = condensation.manhattan(self.condensed(codes))
        if rule == "native":
            return lambda queries, k: by_sums(self.condensed(self.encode(queries)), k)
        return lambda queries, k: by_sums(self._sketched(queries), k)

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(self._checked(a)["bits"], self._checked(b)["bits"], self.steps)


def _rounded_up(values: Array, first: int) -> Array:
    """float16, none below its float64 value. Raises UserError, naming the vector, where float16 ends."""
    if not (values <= LARGEST).all():
        row = first + int(np.flatnonzero(~(values <= LARGEST))[0])
        raise UserError(f"sigma-delta: vector {row} is over {LARGEST:,.0f} times as large as those that were fitted")
    level = values.astype(np.float16)
    return np.where(level < values, np.nextafter(level, np.float16(np.inf)), level)


def build(name: str, seed: int) -> Codec:
    """`sigma_delta_<greedy, r1, r2 or r3>_<bits>[_sparse or _smooth][_dual]`. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found:
        form = "sigma_delta_<greedy, r1, r2 or r3>_<bits>, with _sparse or _smooth and _dual behind it"
        raise UserError(f"representations: sigma_delta has no codec {name!r}; its names are {form}")
    order, steps, frame, free = found.groups()
    if order not in ORDERS:
        raise UserError(f"representations: {name!r}: there is no stable modulator of order {order[1:]}, only 1 to 3")
    if not 1 <= int(steps) <= 2**20:
        raise UserError(f"representations: {name!r}: {steps} bits; between 1 and 1,048,576 are possible")
    if order == "greedy" and frame == "_smooth":
        raise UserError(f"representations: {name!r}: a smooth frame is for modulators with feedback")
    return SigmaDelta(name, seed, {}, ORDERS[order], int(steps), (frame or "")[1:], free is None)
