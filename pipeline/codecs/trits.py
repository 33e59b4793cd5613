"""Packed trits: values -1, 0 and 1, five to a byte, for 3^5 = 243 fits into 256: 1.6 bits each; log2 3 is 1.585.

The byte of t_0 .. t_4 is sum (t_i + 1) 3^i; the last byte is filled up with zeros (t = 0). Bytes from 243 on mean
nothing and are refused. (llama.cpp's TQ1_0 packs five trits a byte as well, by another rule.)
"""

import numpy as np

from pipeline.codec import Array
from pipeline.stage import UserError

PER_BYTE = 5
STATES = 3**PER_BYTE
PLACES = 3 ** np.arange(PER_BYTE, dtype=np.uint8)
TABLE = (np.arange(STATES)[:, None] // PLACES % 3 - 1).astype(np.int8)
"""int8 [243, 5]: the trits of each byte."""


def width(count: int) -> int:
    """Bytes that `count` trits take."""
    return -(-count // PER_BYTE)


def pack(trits: Array) -> Array:
    """-1, 0 or 1, int8 [n, d] -> uint8 [n, ceil(d / 5)]. Raises UserError for any other value."""
    if trits.size and (trits.min() < -1 or trits.max() > 1):
        raise UserError(f"trits are -1, 0 or 1, not {trits.min()} to {trits.max()}")
    count, dims = trits.shape
    digits = np.ones((count, width(dims) * PER_BYTE), np.uint8)
    digits[:, :dims] = trits + 1
    # At most 2 (1 + 3 + 9 + 27 + 81) = 242: uint8 holds every partial sum.
    return np.einsum("nbp,p->nb", digits.reshape(count, -1, PER_BYTE), PLACES)


def unpack(packed: Array, count: int) -> Array:
    """uint8 [n, ceil(count / 5)] -> int8 [n, count]. Raises UserError for another width, or a byte of 243 or more."""
    if packed.ndim != 2 or packed.shape[1] != width(count):
        raise UserError(f"packed trits of shape {packed.shape}: {count} trits take {width(count)} bytes a row")
    if len(bad := np.argwhere(packed >= STATES)):
        row, place = bad[0]
        raise UserError(f"packed trits: byte {place} of row {row} is {packed[row, place]}, and 242 is the largest")
    return TABLE[packed].reshape(len(packed), -1)[:, :count]
