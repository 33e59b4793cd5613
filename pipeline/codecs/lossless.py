"""Lossless: every float32 back bit for bit, in fewer bytes, by whatever the table turns out to hold.

General compressors see bytes. They cannot see that -0.83625 is a decimal of five digits, nor that a value is likely to
lie near what the others of its row suggest. Here a table is first recognised as decimals or as full mantissas
(`positional.detect`); each value is then a coarse bin, coded under a Gaussian that its row predicts (`row_model`), and
digits inside the bin, stored as they are. What remains is close to

    bits a value = h(x_j | x_1 .. x_(j-1)) - log2(distance to the neighbouring value of the number system),

h the differential entropy of the model. Values that the model does not hold, NaN and infinity among them, are an escape
and their 32 bits.

The codec is given the source's raw values. `GROUP` vectors share a string: it opens with the SHA-256 of their bytes
and its own, and decoding refuses a string that does not give them again. All of it is counted. The Gaussian's
distribution function is computed in floating point: should another machine's differ in its last bit, the digest says
so.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, StoredCodec, Strings, check_vectors
from pipeline.codecs import positional, row_model
from pipeline.codecs.positional import System
from pipeline.codecs.range_coder import Reader, Writer
from pipeline.codecs.row_model import ESCAPE, RowModel
from pipeline.layout import check_strings
from pipeline.stage import UserError

GROUP = 1024
DIGEST = 32


def write_values(x: Array, system: System, step: Array, model: RowModel) -> bytes:
    """float32 [n, d], any bits at all, as one message."""
    m, e, fits = system.split(x)
    symbols = row_model.relative(positional.bins(system, m, e, fits, np.signbit(x), step), model.centre)
    writer = Writer()
    row_model.write(model, symbols, writer)
    escaped = symbols == ESCAPE
    raw = x[escaped].view(np.uint32).astype(np.int64)
    writer.uniform(raw, np.full(len(raw), 1 << 32))
    kept, steps = ~escaped, np.broadcast_to(step, x.shape)
    m, e, steps = m[kept], e[kept], steps[kept]
    number = row_model.absolute(symbols, model.centre)[kept]
    empty = np.zeros(len(number), np.int64)
    near = _near_zero(system, number, steps)
    empty[near] = positional.zeros(system, m[near], e[near], steps[near])
    if near.any():
        writer.categorical(empty[near], _emptiness(system, step))
    _, least, count = positional.layout(system, number, empty, steps)
    writer.uniform(m - least, count)
    return writer.bytes()


def read_values(message: bytes, rows: int, system: System, step: Array, model: RowModel) -> Array:
    """float32 [rows, d] of `write_values`. What a damaged message gives is not said: anything, or an exception."""
    reader = Reader(message)
    symbols = row_model.read(model, rows, reader)
    escaped = symbols == ESCAPE
    x = np.empty(symbols.shape, np.float32)
    x[escaped] = reader.uniform(np.full(int(escaped.sum()), 1 << 32)).astype(np.uint32).view(np.float32)
    kept, steps = ~escaped, np.broadcast_to(step, x.shape)
    steps = steps[kept]
    number = row_model.absolute(symbols, model.centre)[kept]
    empty = np.zeros(len(number), np.int64)
    near = _near_zero(system, number, steps)
    if near.any():
        empty[near] = reader.categorical(int(near.sum()), _emptiness(system, step))
    e, least, count = positional.layout(system, number, empty, steps)
    x[kept] = system.join(least + reader.uniform(count), e, number < 0)
    return x


def _near_zero(system: System, number: Array, steps: Array) -> Array:
    """The values whose leading place is still to be said: in a bin at zero, with places below the step."""
    return ((number == 0) | (number == -1)) & (steps > system.lowest)


def _emptiness(system: System, step: Array) -> Array:
    """Chances of 0, 1, ... empty places: evenly spread numbers have another with probability 1 / base."""
    most = int(step.max()) - system.lowest
    chances = (1 - 1 / system.base) * float(system.base) ** -np.arange(most + 1.0)
    return chances / chances.sum()


@dataclass
class Lossless(StoredCodec):
    """Shared: `system` (base, digits, lowest), `step` int16, `centre` and `deviation` float32 [d]; and what
    `row_model.packed` makes, where weights pay."""

    family: ClassVar[str] = "lossless"
    lossless: ClassVar[bool] = True

    def fit(self, x: Array) -> Self:
        system = positional.detect(check_vectors(x), self.seed)
        m, e, fits = system.split(x)
        finest = np.where(fits, e, 0).min(axis=0)
        step = positional.coarse_step(system, x.std(axis=0, dtype=np.float64), finest)
        numbers = positional.bins(system, m, e, fits, np.signbit(x), step)
        held = np.random.default_rng(self.seed).permutation(len(x)) < len(x) // 5
        model = row_model.fit(numbers, held)
        self.shared = {
            "system": np.array([system.base, system.digits, system.lowest], np.int16),
            "step": step,
            "centre": model.centre,
            "deviation": model.deviation,
        }
        self.shared |= row_model.packed(model.chain)
        return self

    def _parts(self) -> tuple[System, Array, RowModel]:
        """The number system, the steps and the model that `shared` holds."""
        model = RowModel(self.shared["centre"], self.shared["deviation"], row_model.unpacked(self.shared))
        return System(*self.shared["system"].tolist()), self.shared["step"], model

    def encode(self, x: Array) -> Codes:
        parts = self._parts()
        check_vectors(x, len(parts[1]))
        strings = []
        for start in range(0, len(x), GROUP):
            rows = np.ascontiguousarray(x[start : start + GROUP])
            message = write_values(rows, *parts)
            strings.append(_digest(rows, message) + message)
        return Codes({"strings": Strings.of(strings, len(x), GROUP)})

    def decode(self, codes: Codes) -> Array:
        strings, parts = check_strings(codes, self.name, "strings"), self._parts()
        x = np.empty((len(codes), len(parts[1])), np.float32)
        for string, start in zip(strings.strings(), range(0, len(x), strings.group), strict=True):
            rows, message = x[start : start + strings.group], string[DIGEST:]
            try:
                rows[:] = read_values(message, len(rows), *parts)
            except (AssertionError, ValueError, IndexError, OverflowError) as error:
                raise UserError(
                    f"lossless: the codes of vectors from {start} on are damaged, or another codec's ({error})"
                ) from None
            if _digest(rows, message) != string[:DIGEST]:
                raise UserError(
                    f"lossless: the codes of vectors from {start} on are damaged, or another codec's (digest)"
                )
        return x


def _digest(rows: Array, message: bytes) -> bytes:
    """SHA-256 of the values, and of the message: its last bits may say nothing of them."""
    return hashlib.sha256(rows.astype("<f4", copy=False).tobytes() + message).digest()


def build(name: str, seed: int) -> Codec:
    """`lossless`. Raises UserError for any other name."""
    if name == "lossless":
        return Lossless(name, seed)
    raise UserError(f"representations: lossless has no codec {name!r}; it has lossless")
