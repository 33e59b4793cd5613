"""A binary code as spikes, one bit one slot: another codec's codes in T steps.

    carried_<T>:<module>:<representation>     e.g. carried_16:matryoshka:matryoshka_512

The codec inside encodes. The B bytes that its code arrays have for a vector, one array behind the other, are 8 B bits,
the highest of a byte first. Bit i is the slot of step i // P and neuron i % P, P = ceil(8 B / T); slots behind the last
bit stay empty. What pads a code's last byte, or a float beside its bits, is carried like any other byte. A step is
stored as whole bytes: a code costs what it costs inside where P is a multiple of 8 (512 bits in 16 steps: 32 neurons).

It takes codes of fixed width. Byte strings (entropy-coded) have no number of slots: `fit` refuses them. A codec that is
given a source's raw values elsewhere (float32) is given unit rows here, as all spike codes are.

Guarantee: the codes inside come back bit for bit, so decoding is the codec's own. Search: `hamming`, where the codec
inside has it: the Hamming distance of packed spikes is that of its bits.
"""

import json
import re
from dataclasses import dataclass, field
from math import prod
from typing import Any, Self

import numpy as np

from pipeline import exhaustive
from pipeline.codec import Array, Codec, Codes, Search, Searchable
from pipeline.codec import build as build_codec
from pipeline.spikes import planes
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"carried_([1-9][0-9]{0,3}):(\w+):(.+)", re.ASCII)
INNER = "inner."
LAYOUT = "layout"


def bytes_to_train(rows: Array, timesteps: int) -> SpikeTrain:
    """uint8 [n, B] -> P = ceil(8 B / T) neurons x T steps."""
    bits = 8 * rows.shape[1]
    neurons = -(-bits // timesteps)
    packed = np.empty((len(rows), timesteps, -(-neurons // 8)), np.uint8)
    for block in planes.blocks(len(rows), neurons * timesteps):
        slots = np.pad(np.unpackbits(rows[block], axis=1), ((0, 0), (0, neurons * timesteps - bits)))
        packed[block] = np.packbits(slots.reshape(-1, timesteps, neurons), axis=2)
    return SpikeTrain(packed, neurons)


def train_to_bytes(train: SpikeTrain, width: int) -> Array:
    """uint8 [n, B = width]: what `bytes_to_train` was given. Raises UserError for a spike behind the last bit."""
    rows = np.empty((len(train), width), np.uint8)
    for block in planes.blocks(len(train), train.neurons * train.timesteps):
        slots = np.unpackbits(train.packed[block], axis=2, count=train.neurons).reshape(len(rows[block]), -1)
        if len(bad := np.flatnonzero(slots[:, 8 * width :].any(axis=1))):
            raise UserError(f"vector {block.start + bad[0]} has a spike behind the last of {8 * width} bits")
        rows[block] = np.packbits(slots[:, : 8 * width], axis=1)
    return rows


@dataclass
class Carried(SpikeCode):
    """Shared: the arrays of the codec inside, their names behind `inner.`, and `layout`, uint8, JSON: a code array's
    type and shape by name."""

    module: str = ""
    representation: str = ""

    _inner: Codec | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def inner(self) -> Codec:
        """The codec inside, with what it has learned. It is built once for the same shared arrays: some codecs derive
        much from theirs on first use."""
        learned = {name.removeprefix(INNER): array for name, array in self.shared.items() if name.startswith(INNER)}
        if self._inner is None or set(map(id, self._inner.shared.values())) != set(map(id, learned.values())):
            self._inner = build_codec(self.module, self.representation, self.seed)
            self._inner.shared.update(learned)
        return self._inner

    @property
    def learns(self) -> bool:  # type: ignore[override]  # a class variable elsewhere: here it hangs on the name
        return self.inner.learns

    @property
    def decodes(self) -> bool:  # type: ignore[override]
        return self.inner.decodes

    @property
    def searches(self) -> tuple[str, ...]:
        inner = self.inner
        return ("hamming",) if isinstance(inner, Searchable) and "hamming" in inner.searches else ()

    @property
    def ledger(self) -> dict[str, str]:
        """Which of the shared arrays are a decoder's, as far as the codec inside says."""
        return {INNER + name: kind for name, kind in getattr(self.inner, "ledger", {}).items()}

    @property
    def layout(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Type and shape of a vector's part in each code array."""
        stored = json.loads(self.shared[LAYOUT].tobytes())
        return {name: (np.dtype(dtype), tuple(shape)) for name, (dtype, shape) in stored.items()}

    @property
    def width(self) -> int:
        """B, the bytes of a vector's code."""
        return sum(dtype.itemsize * prod(shape) for dtype, shape in self.layout.values())

    @property
    def neurons(self) -> int:
        return -(-8 * self.width // self.steps)

    def fit(self, x: Array) -> Self:
        """Fits the codec inside. Raises UserError if its codes are strings."""
        inner = build_codec(self.module, self.representation, self.seed).fit(x)
        layout: dict[str, Any] = {}
        for name, array in inner.encode(x[:1]).arrays.items():
            if not isinstance(array, Array):
                what = f"{name} of {self.representation} are byte strings"
                raise UserError(f"{self.name}: {what}: only codes of fixed width have a slot for each bit")
            layout[name] = [array.dtype.str, list(array.shape[1:])]
        self.shared = {INNER + name: array for name, array in inner.shared.items()}
        self.shared[LAYOUT] = np.frombuffer(json.dumps(layout, separators=(",", ":")).encode(), np.uint8)
        return self

    def carry(self, codes: Codes) -> Codes:
        """Spikes of codes that the codec inside made."""
        parts = [np.ascontiguousarray(codes[name]).reshape(len(codes), -1).view(np.uint8) for name in self.layout]
        return self.codes(bytes_to_train(np.concatenate(parts, axis=1), self.steps))

    def carried(self, codes: Codes) -> Codes:
        """The codes that `carry` was given. Raises UserError, naming the vector, for spikes that are none."""
        try:
            rows = train_to_bytes(self.spike_train(codes), self.width)
        except UserError as error:
            raise UserError(f"{self.name}: codes of another codec or dimension, or damaged: {error}") from None
        arrays: dict[str, Array] = {}
        start = 0
        for name, (dtype, shape) in self.layout.items():
            size = dtype.itemsize * prod(shape)
            part = np.ascontiguousarray(rows[:, start : start + size])
            arrays[name] = part.view(dtype).reshape(len(rows), *shape)
            start += size
        return Codes(arrays)

    def encode(self, x: Array) -> Codes:
        return self.carry(self.inner.encode(x))

    def decode(self, codes: Codes) -> Array:
        return self.inner.decode(self.carried(codes))

    def searcher(self, rule: str, codes: Codes) -> Search:
        train = self.spike_train(codes)
        by_spikes = exhaustive.hamming(train.packed.reshape(len(train), -1))
        return lambda queries, k: by_spikes(self.encode(queries)["spikes"].reshape(len(queries), -1), k)


def parts(name: str) -> tuple[int, str, str]:
    """T, module and representation that a name says. Raises UserError for a name of another form."""
    found = NAME.fullmatch(name)
    if not found:
        form = "carried_<steps>:<module>:<representation>, 1 to 9,999 steps"
        raise UserError(f"representations: carried has no codec {name!r}; its names are {form}")
    return int(found[1]), found[2], found[3]


def build(name: str, seed: int) -> Codec:
    """`carried_<T>:<module>:<representation>`. Raises UserError for another name, and as that module's own `build`."""
    steps, module, representation = parts(name)
    build_codec(module, representation, seed)  # a mistyped name fails before anything is fitted
    return Carried(name, seed, steps=steps, module=module, representation=representation)
