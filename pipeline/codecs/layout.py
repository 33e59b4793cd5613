"""Whether codes can be those that a codec made: their arrays' names, types and widths, and what pads their last byte.

Codes do not say whose they are. What another codec made, or the same one for other dimensions, would often decode to
something; wherever its layout differs, it is refused instead. Codes of the same layout cannot be told apart here.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.codec import Array, Codes, Strings
from pipeline.stage import UserError

Layout = Mapping[str, tuple[type[np.generic], tuple[int, ...]]]
"""array's name -> its type, and its shape without the first axis"""


def check_layout(codes: Codes, name: str, layout: Layout) -> Codes:
    """The codes themselves. Raises UserError that names the codec and what it would have, unless they have it."""
    found = {key: (array.dtype, array.shape[1:]) for key, array in codes.arrays.items() if isinstance(array, Array)}
    if len(found) < len(codes.arrays) or found != {key: (np.dtype(one), shape) for key, (one, shape) in layout.items()}:
        right = ", ".join(f"{key} {one.__name__}{list(shape) if shape else ''}" for key, (one, shape) in layout.items())
        here = ", ".join(
            f"{key} {found[key][0]}{list(found[key][1]) or ''}" if key in found else f"{key} strings"
            for key in codes.arrays
        )
        raise UserError(f"{name}: codes of another codec or dimension: a vector has {here}; expected is {right}")
    return codes


def check_strings(codes: Codes, name: str, key: str) -> Strings:
    """The byte strings `key`, if that is all that the codes have. Raises UserError that names the codec."""
    if list(codes.arrays) != [key] or not isinstance(codes[key], Strings):
        here = ", ".join(codes.arrays)
        raise UserError(f"{name}: codes of another codec: a vector has {here}; expected is {key} strings")
    return codes[key]


def check_padding(packed: Array, count: int, name: str) -> None:
    """Raises UserError if the last byte of a row, uint8 [n, ceil(count / 8)], holds more than its `count` bits."""
    spare = 8 * packed.shape[1] - count
    if len(bad := np.flatnonzero(packed[:, -1] & ((1 << spare) - 1))):
        raise UserError(f"{name}: codes of another dimension, or damaged: vector {bad[0]} has more than {count} bits")
