"""The loops of `bit_planes`: whole numbers to bytes and back, decision by decision."""

from typing import NamedTuple

import numba
import numpy as np

from pipeline.codec import Array
from pipeline.codecs import binary_coder
from pipeline.codecs.binary_coder import HALF, LENGTH, READER, WRITER
from pipeline.codecs.bit_plane_order import ZERO, Model, apart


class Decisions(NamedTuple):
    """In turn, int64 [decisions]: component, plane, kind, and the chance of a zero in 4096ths."""

    component: Array
    plane: Array
    kind: Array
    chance: Array


def decisions(model: Model) -> Decisions:
    """Of a model, ready for the loops."""
    component, plane, kind = apart(model.order, model.zero.shape[1])
    chance = np.where(kind == ZERO, model.zero[component, plane], model.first[component, plane])
    return Decisions(component, plane, kind, binary_coder.chances(chance))


def limits(asked: Decisions, components: int, planes: int) -> Array:
    """The largest whole number of each component that the decisions can tell, int64 [components]: 2^planes - 1, or less
    where its upper planes are not asked for."""
    found = np.full(components, planes)
    zeros = asked.kind == ZERO
    np.minimum.at(found, asked.component[zeros], asked.plane[zeros])
    return 2 ** (planes - found) - 1


def write(whole: Array, negative: Array, planes: int, asked: Decisions, packed: Array) -> Array:
    """Codes of `whole` int32 and `negative` bool [n, components] into `packed` uint8 [n, size].

    Returns int64 [n, 2]: how many decisions were taken until the bytes were full, and the bytes filled.
    """
    ends = np.empty((len(whole), 2), np.int64)
    _write(whole, negative, planes, *asked, packed, ends)
    return ends


def read(packed: Array, components: int, asked: Decisions) -> tuple[Array, Array, Array]:
    """Of each component: its known bits as a whole number, how many planes that is, and its sign; int32 [n, k]."""
    known, planes, signs = (np.full((len(packed), components), one, np.int32) for one in (0, 0, 1))
    _read(np.ascontiguousarray(packed), *asked, known, planes, signs)
    return known, planes, signs


@numba.njit(cache=True)
def _write(whole, negative, planes, component, plane, kind, chance, packed, ends):  # type: ignore[no-untyped-def]
    state = np.empty(WRITER, np.int64)
    for row in range(len(whole)):
        out = packed[row]
        binary_coder.start_writing(state)
        taken = 0
        while taken < len(component) and state[LENGTH] < len(out):  # bytes that are out are final, whatever comes
            j = component[taken]
            now = whole[row, j] >> (planes - 1 - plane[taken])
            if kind[taken] == ZERO:
                if now < 2:
                    binary_coder.put(state, out, now == 1, chance[taken])
                    if now == 1:
                        binary_coder.put(state, out, negative[row, j], HALF)
            elif now >= 2:
                binary_coder.put(state, out, now & 1 == 1, chance[taken] if now < 4 else HALF)
            taken += 1
        binary_coder.finish(state, out)
        ends[row] = taken, min(state[LENGTH], len(out))


@numba.njit(cache=True)
def _read(packed, component, plane, kind, chance, known, depths, signs):  # type: ignore[no-untyped-def]
    state = np.empty(READER, np.int64)
    for row in range(len(packed)):
        code = packed[row]
        binary_coder.start_reading(state, code)
        for one in range(len(component)):
            j = component[one]
            before = known[row, j]
            if kind[one] == ZERO:
                if before == 0:
                    bit = binary_coder.get(state, code, chance[one])
                    sign = binary_coder.get(state, code, HALF) if bit == 1 else 0
                    if bit < 0 or sign < 0:
                        break
                    if bit == 1:
                        known[row, j], depths[row, j] = 1, plane[one] + 1
                        if sign == 1:
                            signs[row, j] = -1
            elif before > 0 and depths[row, j] == plane[one]:
                bit = binary_coder.get(state, code, chance[one] if before == 1 else HALF)
                if bit < 0:
                    break
                known[row, j], depths[row, j] = 2 * before + bit, plane[one] + 1
