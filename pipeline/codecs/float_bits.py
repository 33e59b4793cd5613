"""float32 as sign, whole number and power of two: x = +-m 2^e, for every finite value and without any rounding.

IEEE 754 binary32 holds a sign bit, eight bits of exponent f and 23 of mantissa:

    f > 0: m = 2^23 + mantissa, e = f - 150 (normal);    f = 0: m = mantissa, e = -149 (denormal, zero).

So 2^23 <= m < 2^24 wherever e > -149, and there is one (sign, m, e) for each bit pattern; -0.0 has its own. Infinity
and NaN (f = 255) have no such form: `split` says so, and what is written of them is the bits.
"""

import numpy as np

from pipeline.codec import Array

DIGITS = 24
LOWEST = -149


def split(x: Array) -> tuple[Array, Array, Array]:
    """float32 -> m int64, e int64, and whether it is finite (m and e mean nothing where it is not)."""
    bits = x.view(np.uint32).astype(np.int64)
    field, mantissa = (bits >> 23) & 255, bits & 0x7FFFFF
    return np.where(field > 0, mantissa | 1 << 23, mantissa), np.maximum(field, 1) - 150, field < 255


def join(m: Array, e: Array) -> Array:
    """m 2^e as float32 (float64 holds every such number, so nothing is rounded)."""
    with np.errstate(over="ignore"):  # damaged codes: too large a number becomes infinity, and the digest says so
        return np.ldexp(m.astype(np.float64), np.clip(e, -1000, 1000).astype(np.int32)).astype(np.float32)
