"""Whether codes can be those that a codec made: their arrays' names, types and widths, and what pads their last byte.

Codes do not say whose they are. What another codec made, or the same one for other dimensions, would often decode to
something; wherever its layout differs, it is refused instead. Codes of the same layout cannot be told apart here.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.codec import Array, Codes, Strings
from pipeline.stage import UserError

Layout = Mapping[str, tuple[type[np.generic], tuple[int | None, ...]]]
"""array's name -> its type, and its shape without the first axis; None: any width"""


def check_layout(codes: Codes, name: str, layout: Layout) -> Codes:
    """The codes themselves. Raises UserError that names the codec and what it would have, unless they have it."""
    found = {key: (array.dtype, array.shape[1:]) for key, array in codes.arrays.items() if isinstance(array, Array)}
    if codes.arrays.keys() != layout.keys() or not all(
        key in found and found[key][0] == np.dtype(one) and _fits(found[key][1], shape)
        for key, (one, shape) in layout.items()
    ):
        right = ", ".join(
            f"{key} {one.__name__}{_written(shape) if shape else ''}" for key, (one, shape) in layout.items()
        )
        here = ", ".join(
            f"{key} {found[key][0]}{list(found[key][1]) or ''}" if key in found else f"{key} strings"
            for key in codes.arrays
        )
        raise UserError(f"{name}: codes of another codec or dimension: a vector has {here}; expected is {right}")
    return codes


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(one in (None, width) for width, one in zip(shape, wanted, strict=True))


def _written(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('d' if width is None else str(width) for width in shape)}]"


def check_strings(codes: Codes, name: str, key: str) -> Strings:
    """The byte strings `key`, if that is all that the codes have. Raises UserError that names the codec."""
    if list(codes.arrays) != [key] or not isinstance(codes[key], Strings):
        here = ", ".join(
            f"{one} {'strings' if isinstance(codes[one], Strings) else codes[one].dtype}" for one in codes.arrays
        )
        raise UserError(f"{name}: codes of another codec: a vector has {here}; expected is {key} strings")
    return codes[key]


def check_padding(packed: Array, count: int, name: str, highest_first: bool = True) -> None:
    """Raises UserError if the last byte of a row, uint8 [n, ceil(count / 8)], holds more than its `count` bits.

    `highest_first`: a byte's first bit is its highest, as here; faiss's is its lowest.
    """
    spare = 8 * packed.shape[1] - count
    padding = (1 << spare) - 1 if highest_first else 0xFF & ~(0xFF >> spare)
    if len(bad := np.flatnonzero(packed[:, -1] & np.uint8(padding))):
        raise UserError(f"{name}: codes of another dimension, or damaged: vector {bad[0]} has more than {count} bits")
