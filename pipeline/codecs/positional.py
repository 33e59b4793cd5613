"""Numbers as a coarse bin, which is worth modelling, and the digits inside it, which are not.

A number is +-m base^e with m < base^digits and e >= lowest, as many significant digits as there is room for: the floats
of `float_bits` (base 2) and the decimals of `decimals` (base 10) are both of this kind. The line is cut into bins of
width base^step, numbered S = floor(|x| / base^step) for positive and its complement -S - 1 for negative numbers. Since
the width is a power of the base, all numbers of a bin but the two at zero have the same e: what is left is a remainder
of known size, spread evenly enough to be stored as it is. In the bins at zero the leading digit's place comes first
(`zeros`, how many empty places stand below the step; evenly spread numbers have one more with probability 1 / base).

`detect` picks the system of the fewest expected bits: h - log2 of a value's distance to its neighbours, h the entropy
of a Gaussian of the table's spread, and a fixed price for a value that the system does not hold.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.codec import Array
from pipeline.codecs import decimals, float_bits

EXCEPTION_BITS = 56  # an escape of 24 bits and the value's own 32
SAMPLE = 20_000
NO_BIN = np.int64(2) ** 40  # the bin number of a value that the system does not hold


@dataclass(frozen=True)
class System:
    """`base` 2 or 10, significant `digits`, and `lowest`, the power of the base of the last place there is."""

    base: int
    digits: int
    lowest: int

    def split(self, x: Array) -> tuple[Array, Array, Array]:
        """float32 -> m, e (int64) and whether x is of the system."""
        return float_bits.split(x) if self.base == 2 else decimals.split(x, self.digits, self.lowest)

    def join(self, m: Array, e: Array, negative: Array) -> Array:
        """float32 from what `split` found and the sign; bit for bit."""
        size = float_bits.join(m, e) if self.base == 2 else decimals.join(m, e)
        return np.where(negative, -size, size)

    @property
    def powers(self) -> Array:
        """Powers of the base that int64 holds, from base^0."""
        return self.base ** np.arange(62 if self.base == 2 else 18, dtype=np.int64)


BINARY = System(2, float_bits.DIGITS, float_bits.LOWEST)


def detect(x: Array, seed: int) -> System:
    """The cheapest system for float32 values, from a sample of them: binary, or decimals of so many digits."""
    values = x[np.isfinite(x) & (x != 0)]
    if not len(values):
        return BINARY
    values = np.random.default_rng(seed).choice(values, min(SAMPLE, len(values)), replace=False)
    spread = float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
    entropy = np.log2(spread * np.sqrt(2 * np.pi * np.e))
    systems = [BINARY, *(System(10, digits, -places) for digits in range(2, 9) for places in range(13))]
    return min(systems, key=lambda system: _bits(system, values, entropy))


def _bits(system: System, values: Array, entropy: float) -> float:
    """Expected bits a value: a smooth density of this entropy, sampled on the system's grid."""
    _, e, fits = system.split(values)
    bits = np.clip(entropy - e * np.log2(system.base), 0, EXCEPTION_BITS)
    return float(np.where(fits, bits, EXCEPTION_BITS).mean())


def coarse_step(system: System, spread: Array, finest: Array) -> Array:
    """The power of the base, int16 [d], that makes a bin 1/64 of a dimension's spread or smaller; `finest` without one.

    Bins that fine leave the density inside them even: what they lose against the true one is below 0.001 bit a value.
    """
    logs = np.log(np.where(spread > 0, spread, 1) / 64) / np.log(system.base)
    return np.maximum(np.where(spread > 0, np.floor(logs), finest), system.lowest).astype(np.int16)


def bins(system: System, m: Array, e: Array, fits: Array, negative: Array, step: Array) -> Array:
    """Bin numbers S, int64 [n, d]; NO_BIN where there is none, or one so far out that it does not matter."""
    powers, shift = system.powers, step.astype(np.int64) - e
    far = -shift >= 8
    coarser = m // powers[np.clip(shift, 0, system.digits)]
    number = np.where(shift > 0, coarser, m * powers[np.clip(-shift, 0, 8)])
    return np.where(fits & ~(far & (m > 0)), np.where(negative, ~number, number), NO_BIN)


def zeros(system: System, m: Array, e: Array, step: Array) -> Array:
    """For values in the bins at zero: empty places below the step before the first digit; all there are for a zero."""
    leading = e + np.searchsorted(system.powers, m, "right") - 1
    return np.where(m > 0, step - 1 - leading, step.astype(np.int64) - system.lowest)


def layout(system: System, number: Array, empty: Array, step: Array) -> tuple[Array, Array, Array]:
    """What bin S (and `zeros`, in the bins at zero) says of a value: e, the least m, and how many there are from it."""
    powers, step = system.powers, step.astype(np.int64)
    size = np.where(number < 0, ~number, number)
    leading = np.where(size > 0, np.searchsorted(powers, size, "right") - 1 + step, step - 1 - empty)
    e = np.maximum(leading - system.digits + 1, system.lowest)
    shift = step - e
    up, down = powers[np.clip(shift, 0, system.digits)], powers[np.clip(-shift, 0, 8)]
    first = powers[np.clip(leading - e, 0, system.digits)]
    nothing = leading < system.lowest  # zero itself
    least = np.where(size > 0, size * up // down, np.where(nothing, 0, first))
    count = np.where(size > 0, up, np.where(nothing, 1, (system.base - 1) * first))
    return e, least, count
