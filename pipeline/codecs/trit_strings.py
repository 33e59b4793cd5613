"""Entropy-coded trits: one byte string a vector, of about as many bits as the trits' frequencies ask for.

At most 20 trits of a vector, 3^20 < 2^32, open it as a number in base 3: the bottom of the coder's stack, which would
else cost three bytes whatever it held. The trits behind them are coded by their frequencies, either those of the table
or those of their dimension.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.codec import Array
from pipeline.codecs import range_coder
from pipeline.stage import UserError

BOTTOM = 20
PLACES = 3 ** np.arange(BOTTOM, dtype=np.int64)


def trit_strings(trits: Array, counts: Array) -> list[bytes]:
    """Trits int8 [n, d] and the frequencies of -1, 0 and 1, uint8 [1 or d, 3], none of them 0 -> n strings."""
    digits = trits.astype(np.int32) + 1
    bottoms = 1 + digits[:, :BOTTOM] @ PLACES[: digits.shape[1]]
    family = range_coder.categorical_model(_behind(counts))
    rest = np.ascontiguousarray(digits[:, BOTTOM:])
    return [range_coder.stack_bytes(row, int(bottom), *family) for row, bottom in zip(rest, bottoms, strict=True)]


def trits_of_strings(strings: Sequence[bytes], dims: int, counts: Array) -> Array:
    """Trits int8 [n, dims] from what `trit_strings` made. Raises UserError that names a string that is damaged."""
    family = range_coder.categorical_model(_behind(counts))
    digits = np.empty((len(strings), dims), np.int64)
    bottoms = np.empty(len(strings), np.int64)
    for row, string in enumerate(strings):
        try:
            digits[row, BOTTOM:], bottoms[row] = range_coder.stack_symbols(string, max(dims - BOTTOM, 0), *family)
        except (AssertionError, ValueError) as error:
            raise UserError(f"entropy-coded trits: the string of vector {row} is damaged ({error})") from None
    places = PLACES[:dims]
    if len(bad := np.flatnonzero((bottoms < 1) | (bottoms > 3 ** len(places)))):
        raise UserError(f"entropy-coded trits: the string of vector {bad[0]} is damaged (it holds {bottoms[bad[0]]})")
    digits[:, :BOTTOM] = (bottoms - 1)[:, None] // places % 3
    return (digits - 1).astype(np.int8)


def _behind(counts: Array) -> Array:
    """The frequencies of the trits behind the bottom. A single line serves all, and any serves where there are none."""
    return counts[BOTTOM:] if len(counts) > BOTTOM else counts[:1]
