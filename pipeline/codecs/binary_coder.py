"""A binary arithmetic coder for compiled loops: decisions of known chances to bytes, each near its -log2 of the chance.

The range coder of Martin (1979) with the carries of LZMA's (Pavlov): `low` of 32 bits and a carry, `range` of 32 bits,
renormalised by bytes as soon as it is below 2^24. A decision is 0 with chance p / 4096:

    bound = (range >> 12) p;    0: range = bound;    1: low += bound, range -= bound.

A code may be cut behind any byte. Whatever stood there lies between zeros and ones, so the decoder follows both: as
long as both decide alike, the decision is certain; where they part, the code ends.

The coder's state is an int64 array, so that a loop over vectors allocates nothing.
"""

import numba
import numpy as np

CHANCES = 12  # bits of a chance
HALF = 1 << (CHANCES - 1)
TOP = 1 << 24
WHOLE = 0xFFFFFFFF
LOW, RANGE, HELD, PENDING, STARTED, LENGTH = range(6)
"""Of the writer: low, range, the byte that a carry may still change, 0xFF bytes behind it, whether there is one, and
how many bytes are out."""
ZEROS, ONES, SPAN, PLACE = range(4)
"""Of the reader: the code's value less low, with zeros and with ones behind its end; the range; the next byte."""
WRITER, READER = 6, 4  # lengths of the states


@numba.njit(cache=True)
def start_writing(state):  # type: ignore[no-untyped-def]
    state[:] = 0
    state[RANGE] = WHOLE


@numba.njit(cache=True)
def put(state, out, bit, chance):  # type: ignore[no-untyped-def]
    """Code a decision. Bytes that `out` uint8 has no place for are counted and lost."""
    bound = (state[RANGE] >> CHANCES) * chance
    if bit:
        state[LOW] += bound
        state[RANGE] -= bound
    else:
        state[RANGE] = bound
    while state[RANGE] < TOP:
        state[RANGE] = (state[RANGE] << 8) & WHOLE
        _shift(state, out)


@numba.njit(cache=True)
def finish(state, out):  # type: ignore[no-untyped-def]
    """Write what is still held: low itself, so that all decisions come back."""
    for _ in range(5):
        _shift(state, out)


@numba.njit(cache=True)
def _shift(state, out):  # type: ignore[no-untyped-def]
    low = state[LOW]
    if low < 0xFF000000 or low > WHOLE:  # no later carry passes this byte
        carry = low >> 32
        if state[STARTED]:
            _write(state, out, state[HELD] + carry)
        while state[PENDING] > 0:
            _write(state, out, 255 + carry)
            state[PENDING] -= 1
        state[STARTED] = 1
        state[HELD] = (low >> 24) & 255
    else:
        state[PENDING] += 1
    state[LOW] = (low & 0x00FFFFFF) << 8


@numba.njit(cache=True)
def _write(state, out, byte):  # type: ignore[no-untyped-def]
    if state[LENGTH] < len(out):
        out[state[LENGTH]] = byte & 255
    state[LENGTH] += 1


@numba.njit(cache=True)
def start_reading(state, code):  # type: ignore[no-untyped-def]
    state[:] = 0
    state[SPAN] = WHOLE
    for _ in range(4):
        _next(state, code)


@numba.njit(cache=True)
def _next(state, code):  # type: ignore[no-untyped-def]
    place = state[PLACE]
    state[ZEROS] = (state[ZEROS] << 8) | (code[place] if place < len(code) else 0)
    state[ONES] = (state[ONES] << 8) | (code[place] if place < len(code) else 255)
    state[PLACE] = place + 1


@numba.njit(cache=True)
def get(state, code, chance):  # type: ignore[no-untyped-def]
    """The next decision, 0 or 1; -1 where the code does not say."""
    bound = (state[SPAN] >> CHANCES) * chance
    bit = state[ZEROS] >= bound
    if bit != (state[ONES] >= bound):
        return -1
    if bit:
        state[ZEROS] -= bound
        state[ONES] -= bound
        state[SPAN] -= bound
    else:
        state[SPAN] = bound
    while state[SPAN] < TOP:
        state[SPAN] <<= 8
        _next(state, code)
    return 1 if bit else 0


def chance_of(zeros: np.ndarray, ones: np.ndarray) -> np.ndarray:
    """uint8, the chance of 0 in 256ths less a half, from counts; what never happened keeps a chance of half a count."""
    share = (zeros + 0.5) / (zeros + ones + 1)
    return np.clip(np.rint(share * 256 - 0.5), 0, 255).astype(np.uint8)


def chances(table: np.ndarray) -> np.ndarray:
    """int64 in 4096ths, from what `chance_of` made: 8 to 4088."""
    return table.astype(np.int64) * 16 + 8
