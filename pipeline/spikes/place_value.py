"""Codes whose steps are the places of a number: q = sum_t s(t) 2^(T-1-t), s of 0 and 1, or of -1, 0 and 1.

Floats to packed spikes and back in one pass over a row, for both: calibrate and round, find the digits, turn eight
numbers' digits into eight steps' bytes (the 8 x 8 bits of a 64-bit word, turned over their antidiagonal in three
exchanges; Warren 2012, Hacker's Delight, 7-3). With signs the digits are the non-adjacent form (`naf.py`).

What comes out is bit for bit what `IntegerCode` makes of the same class's `to_spikes` and `to_integers`. What is to be
refused is left to it: its check names row and value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np

from pipeline.codec import Array, Codes
from pipeline.spikes import calibration
from pipeline.spikes.search import ShiftAddSearch
from pipeline.spikes.train import SpikeTrain

FINITE = np.finfo(np.float32).max
MOST = 16  # steps: the digits of a value are two bytes at most

SPREAD = tuple(np.uint64(shift) for shift in (36, 18, 9))
HALVES = np.uint64(0xF0F0F0F00F0F0F0F)
PAIRS = np.uint64(0xCCCC0000CCCC0000)
ONES = np.uint64(0xAA00AA00AA00AA00)


@dataclass
class PlaceValueCode(ShiftAddSearch):
    """One neuron a value; `signed` codes are in non-adjacent form."""

    def to_integers(self, train: SpikeTrain) -> Array:
        q = np.zeros((len(train), train.neurons), np.int32)
        for step in range(train.timesteps):
            q += q  # the doubling of the neuron, read backwards
            q += train.plane(step)
        return q

    def encode(self, x: Array) -> Codes:
        if x.ndim == 2 and x.size and x.shape[1] == len(self.shared["step"]) and x.dtype == np.float32:
            train = encode(x, self.shared, self.lowest, self.highest, self.timesteps, self.signed)
            if train is not None:
                return self.codes(train)
        return super().encode(x)

    def decode(self, codes: Codes) -> Array:
        return decode(self.spike_train(codes), self.shared)


def encode(
    x: Array, shared: Mapping[str, Array], lowest: int, highest: int, steps: int, signed: bool
) -> SpikeTrain | None:
    """Spikes of rows float32 [n, d]; None where a value is not finite, or outside of the range if these are refused."""
    if "refuses" in shared and calibration.outside(x, shared, lowest, highest).any():
        return None
    spikes = np.empty((len(x), steps, -(-x.shape[1] // 8)), np.uint8)
    signs = np.empty_like(spikes) if signed else np.empty((0, steps, spikes.shape[2]), np.uint8)
    x, zero, step = (np.ascontiguousarray(one, np.float32) for one in (x, shared["zero"], shared["step"]))
    ends = np.float32(lowest), np.float32(highest)
    if _encode(x, zero, step, *ends, spikes, signs):
        return None
    return SpikeTrain(spikes, x.shape[1], signs if signed else None)


def decode(train: SpikeTrain, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] of spikes."""
    found = np.empty((len(train), train.neurons), np.float32)
    spikes = np.ascontiguousarray(train.packed)
    signs = spikes[:0] if train.negative is None else np.ascontiguousarray(train.negative)
    zero, step = (np.ascontiguousarray(shared[name], np.float32) for name in ("zero", "step"))
    _decode(spikes, signs, zero, step, found)
    return found


@numba.njit(cache=True)
def _turn(words):  # type: ignore[no-untyped-def]
    """Each word's byte i, bit j becomes byte 7 - j, bit 7 - i (counted from the lowest). Its own inverse."""
    wide, middle, near = SPREAD
    for k in range(len(words)):
        word = words[k]
        turned = word ^ (word << wide)
        word ^= HALVES & (turned ^ (word >> wide))
        turned = PAIRS & (word ^ (word << middle))
        word ^= turned ^ (turned >> middle)
        turned = ONES & (word ^ (word << near))
        words[k] = word ^ turned ^ (turned >> near)


@numba.njit(cache=True)
def _write(digits, words, planes):  # type: ignore[no-untyped-def]
    """Numbers of T digits, uint16 [8 w], to `planes` uint8 [T, w]; `words` uint64 [w] is scratch."""
    steps, width = planes.shape
    values = words.view(np.uint8)
    for first in range(0, steps, 8):
        # The eight digits from `first` on stand in one byte, the first of them highest.
        shift = steps - 8 - first
        if shift >= 0:
            for j in range(8 * width):
                values[j] = digits[j] >> shift
        else:
            for j in range(8 * width):
                values[j] = digits[j] << -shift
        _turn(words)
        for step in range(first, min(first + 8, steps)):
            down = np.uint64(8 * (step - first))
            for j in range(width):
                planes[step, j] = words[j] >> down


@numba.njit(cache=True)
def _read(planes, words, digits):  # type: ignore[no-untyped-def]
    """The inverse of `_write`."""
    steps, width = planes.shape
    values = words.view(np.uint8)
    digits[:] = 0
    for first in range(0, steps, 8):
        words[:] = 0
        for step in range(first, min(first + 8, steps)):
            up = np.uint64(8 * (step - first))
            for j in range(width):
                words[j] |= np.uint64(planes[step, j]) << up
        _turn(words)
        shift = steps - 8 - first
        if shift >= 0:
            for j in range(8 * width):
                digits[j] |= np.uint16(values[j]) << shift
        else:
            for j in range(8 * width):
                digits[j] |= np.uint16(values[j]) >> -shift


@numba.njit(cache=True, error_model="numpy")
def _encode(x, zero, step, lowest, highest, spikes, signs):  # type: ignore[no-untyped-def]
    """Returns whether a value is not finite: the spikes then mean nothing."""
    dims, width = x.shape[1], spikes.shape[2]
    words = np.empty(width, np.uint64)
    digits, negative = np.zeros(8 * width, np.uint16), np.zeros(8 * width, np.uint16)
    strange, none = np.zeros(dims, np.int32), np.float32(0)
    for row in range(len(x)):
        for j in range(dims):
            value = x[row, j]
            strange[j] |= 0 if abs(value) <= FINITE else 1
            level = (value - zero[j]) / step[j] if step[j] > none else none
            q = np.int32(np.rint(min(max(level, lowest), highest)))
            if len(signs):
                half = q >> 1
                more = q + half
                digits[j] = half ^ more
                negative[j] = half & ~more
            else:
                digits[j] = q
        _write(digits, words, spikes[row])
        if len(signs):
            _write(negative, words, signs[row])
    return strange.any()


@numba.njit(cache=True)
def _decode(spikes, signs, zero, step, found):  # type: ignore[no-untyped-def]
    width = spikes.shape[2]
    words = np.empty(width, np.uint64)
    digits, negative = np.zeros(8 * width, np.uint16), np.zeros(8 * width, np.uint16)
    for row in range(len(found)):
        _read(spikes[row], words, digits)
        if len(signs):
            _read(signs[row], words, negative)
        for j in range(found.shape[1]):
            q = np.int32(digits[j]) - 2 * np.int32(negative[j])
            found[row, j] = np.float32(q) * step[j] + zero[j]
