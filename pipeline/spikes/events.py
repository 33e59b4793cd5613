"""Spike trains as events: of each vector the addresses of its spikes, in order, as neuromorphic hardware sends them.

    address = t P + k        neuron k of P fires in step t, so that addresses rise with time, then with the neuron

The form is exact: `to_train(of(train))` is the train, bit for bit. In memory it is smaller than packed bits where fewer
than about one slot in 32 has a spike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

Array = np.ndarray
PIECE_SLOTS = 1 << 22  # slots that are unpacked at a time, a byte each


def address_type(slots: int) -> type[np.unsignedinteger]:
    """The type of the addresses of a vector with so many slots, P T."""
    return np.uint32 if slots <= 2**32 else np.uint64


@dataclass(frozen=True)
class Events:
    """Vector v has the events offsets[v] .. offsets[v + 1] - 1: their `address` t P + k, rising.

    `offsets` int64 [n + 1]; `address` uint32 [m], or uint64 where P T passes 2^32; `negative` bool [m], or None where
    no spike can be negative.

    Raises UserError for arrays of other shapes or types, offsets that do not fit, and, naming vector, event and values,
    events out of order, twice, or beyond the last step.
    """

    offsets: Array
    address: Array
    neurons: int
    timesteps: int
    negative: Array | None = None

    def __post_init__(self) -> None:
        _check_counts(self.neurons, self.timesteps)
        _check_offsets(self.offsets, len(self.address))
        expected = np.dtype(address_type(self.slots))
        if self.address.ndim != 1 or self.address.dtype != expected:
            found = f"{self.address.dtype} {list(self.address.shape)}"
            raise UserError(f"events: addresses of type {found}: expected {expected} [m]")
        if self.negative is not None and (self.negative.dtype != bool or self.negative.shape != self.address.shape):
            found = f"{self.negative.dtype} {list(self.negative.shape)}"
            raise UserError(f"events: signs of type {found}: expected bool {list(self.address.shape)}")
        _refuse(self.address >= self.slots, self, f"beyond {self.timesteps} steps of {self.neurons} neurons")
        rising = np.ones(len(self.address), bool)
        rising[1:] = self.address[1:] > self.address[:-1]
        rising[self.offsets[:-1][np.diff(self.offsets) > 0]] = True  # nothing is before a vector's first event
        if not rising.all():
            twice = ~rising & (self.address == np.roll(self.address, 1))
            _refuse(twice, self, "stands twice")
            _refuse(~rising, self, "out of order behind a later one; events are sorted by step, then by neuron")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def slots(self) -> int:
        """P T of a vector."""
        return self.neurons * self.timesteps

    @property
    def time(self) -> Array:
        """Step of each event [m], 0 .. T - 1."""
        return self.address // max(self.neurons, 1)

    @property
    def neuron(self) -> Array:
        """Neuron of each event [m], 0 .. P - 1."""
        return self.address % max(self.neurons, 1)

    @classmethod
    def at(
        cls, offsets: Array, time: Array, neuron: Array, neurons: int, timesteps: int, negative: Array | None = None
    ) -> Self:
        """From steps and neurons, integers [m] of any type. Raises UserError as the class does, for neurons too."""
        _check_counts(neurons, timesteps)
        for name, values in (("steps", time), ("neurons", neuron)):
            if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) != len(time):
                found = f"{values.dtype} {list(values.shape)}"
                raise UserError(f"events: {name} of type {found}: expected integers [{len(time)}]")
        _check_offsets(offsets, len(time))
        beyond = (time < 0) | (time >= timesteps) | (neuron < 0) | (neuron >= neurons)
        if beyond.any():
            where = _place(offsets, int(np.argmax(beyond)), time, neuron)
            raise UserError(f"{where}: beyond {timesteps} steps of {neurons} neurons")
        address = time.astype(np.uint64) * np.uint64(neurons) + neuron.astype(np.uint64)
        return cls(offsets, address.astype(address_type(neurons * timesteps)), neurons, timesteps, negative)


def _check_counts(neurons: int, timesteps: int) -> None:
    if neurons < 0 or timesteps < 0 or neurons * timesteps >= 2**63:
        raise UserError(f"events: {timesteps} steps of {neurons} neurons: expected 0 or more, below 2^63 together")


def _check_offsets(offsets: Array, count: int) -> None:
    """Raises UserError unless they are int64 [n + 1], from 0 to the number of events, never falling."""
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        raise UserError(f"events: offsets of type {offsets.dtype} {list(offsets.shape)}: expected int64 [n + 1]")
    if offsets[0] != 0 or offsets[-1] != count:
        raise UserError(f"events: offsets go from {offsets[0]} to {offsets[-1]}: expected 0 to {count}, all events")
    if len(falling := np.flatnonzero(offsets[1:] < offsets[:-1])):
        vector = int(falling[0])
        what = f"vector {vector} begins at event {offsets[vector]} and ends at {offsets[vector + 1]}"
        raise UserError(f"events: offsets do not fit: {what}")


def _place(offsets: Array, event: int, time: Array, neuron: Array) -> str:
    """`events: vector 3, event 5 (step 2, neuron 7)`; events are counted from the vector's first."""
    vector = int(np.searchsorted(offsets, event, side="right")) - 1
    return f"events: vector {vector}, event {event - offsets[vector]} (step {time[event]}, neuron {neuron[event]})"


def _refuse(wrong: Array, events: Events, why: str) -> None:
    """Raises UserError for the first event that is wrong."""
    if wrong.any():
        raise UserError(f"{_place(events.offsets, int(np.argmax(wrong)), events.time, events.neuron)}: {why}")


def _pieces(count: int, slots: int) -> Iterator[slice]:
    """Rows 0 .. count - 1, so many at a time that their slots are few."""
    rows = max(1, PIECE_SLOTS // max(slots, 1))
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def of(train: SpikeTrain) -> Events:
    """The events of a train."""
    slots = train.neurons * train.timesteps
    kind = address_type(slots)
    counts = np.zeros(len(train), np.int64)
    addresses, signs = [np.zeros(0, kind)], [np.zeros(0, bool)]
    for rows in _pieces(len(train), slots):
        fired = _flat(train.packed[rows], train.neurons)
        counts[rows] = np.count_nonzero(fired, axis=1)
        places = np.flatnonzero(fired)
        addresses.append((places - np.repeat(np.arange(len(fired)) * slots, counts[rows])).astype(kind))
        if train.negative is not None:
            signs.append(_flat(train.negative[rows], train.neurons).ravel()[places])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    negative = np.concatenate(signs) if train.signed else None
    return Events(offsets, np.concatenate(addresses), train.neurons, train.timesteps, negative)


def _flat(packed: Array, neurons: int) -> Array:
    """bool [n, T P] of packed bits [n, T, ceil(P / 8)]."""
    bits = np.unpackbits(packed, axis=2, count=neurons)
    return bits.reshape(len(packed), packed.shape[1] * neurons).view(bool)


def to_train(events: Events) -> SpikeTrain:
    """The train that the events are of."""
    shape = (len(events), events.timesteps, -(-events.neurons // 8))
    packed = np.zeros(shape, np.uint8)
    negative = None if events.negative is None else np.zeros(shape, np.uint8)
    for rows in _pieces(len(events), events.slots):
        offsets = events.offsets[rows.start : rows.stop + 1]
        mine = slice(offsets[0], offsets[-1])
        starts = np.arange(len(offsets) - 1) * events.slots
        places = np.repeat(starts, np.diff(offsets)) + events.address[mine].astype(np.int64)
        packed[rows] = _packed(places, events, len(starts))
        if negative is not None and events.negative is not None:
            negative[rows] = _packed(places[events.negative[mine]], events, len(starts))
    return SpikeTrain(packed, events.neurons, negative)


def _packed(places: Array, events: Events, rows: int) -> Array:
    """uint8 [rows, T, ceil(P / 8)] with a bit at each of the places, v P T + address."""
    bits = np.zeros(rows * events.slots, np.uint8)
    bits[places] = 1
    return np.packbits(bits.reshape(rows, events.timesteps, events.neurons), axis=2)
