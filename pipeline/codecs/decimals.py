"""float32 that was once a decimal: x = +-m 10^e with few digits, and float32(m 10^e) gives x back bit for bit.

A table that was printed and read again (fastText's `.vec` files, spaCy's vectors) holds rounded decimals. Their binary
mantissas look full, but there are only as many of them as there are decimals: a value of five significant digits
carries about 17 bits, not 32. ALP (Afroozeh, Kuffo & Boncz, SIGMOD 2024) finds m by multiplying with a power of ten,
rounding, and dividing back. Here two things bound the decimals of a table: `digits`, the significant ones, and
`lowest`, the power of ten of the last place that is ever written; `%.4f` has lowest = -4 and digits enough.

A value that does not come back bit for bit is no such decimal: `split` says so, and it is stored otherwise. Powers of
ten up to 10^22 are exact in float64, so m 10^e is rounded twice, to float64 and to float32, the same on every machine.
"""

import numpy as np

from pipeline.codec import Array

EXACT_POWER = 22
POWERS = 10.0 ** np.arange(EXACT_POWER + 1)


def split(x: Array, digits: int, lowest: int) -> tuple[Array, Array, Array]:
    """float32 -> m int64, e int64, and whether x is such a decimal (m and e mean nothing where it is not).

    m < 10^digits and e >= lowest; m >= 10^(digits - 1) wherever e > lowest.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN
        size = np.abs(x).astype(np.float64)
    usable = np.isfinite(size) & (size < 1e22)
    size = np.where(usable, size, 0)
    place = np.floor(np.log10(size, out=np.full(size.shape, float(lowest)), where=size > 0)).astype(np.int64)
    e = np.maximum(place - digits + 1, lowest)
    m = _scaled(size, e)
    carried = m >= 10**digits  # 9.9999996 rounds up to a digit more
    e = e + carried
    m = np.where(carried, _scaled(size, e), m).astype(np.int64)
    fits = usable & (m < 10**digits) & ((m >= 10 ** (digits - 1)) | (e == lowest))
    return m, e, fits & (join(m, e) == np.abs(x))


def join(m: Array, e: Array) -> Array:
    """m 10^e as float32."""
    e = np.clip(e, -EXACT_POWER, EXACT_POWER)
    with np.errstate(over="ignore"):  # damaged codes
        return np.where(e < 0, m / POWERS[np.maximum(-e, 0)], m * POWERS[np.maximum(e, 0)]).astype(np.float32)


def _scaled(size: Array, e: Array) -> Array:
    """size / 10^e, rounded to a whole number."""
    below, above = POWERS[np.clip(-e, 0, EXACT_POWER)], POWERS[np.clip(e, 0, EXACT_POWER)]
    return np.rint(size * below / above)
