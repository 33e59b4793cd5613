"""Sigma-delta modulators: real drives to signs, the rounding error fed back so that it leaves the low frequencies.

    a_i = (h * v)_i + y_i,    q_i = sign(a_i),    v_i = a_i - q_i,    sign(0) = 1

so y - q = (delta - h) * v. Of order r, delta - h has an r-fold zero at frequency 0: sum h = 1 and sum h_n n^k = 0 for
0 < k < r. The taps are those of Guentuerk (2003) and Deift, Guentuerk and Krahmer (2011), as Zhang and Saab use them
(ICLR 2021, arXiv 2010.00712):

    r = 1: d1        r = 2: (7 d1 - d7) / 6        r = 3: (175/144) d1 - (25/108) d7 + (7/432) d25

r = 1 is the integrate-and-fire neuron with soft reset: v integrates the drive, a spike is the sign, and its reset takes
the spike's size away instead of setting v to zero. r = 0 is the greedy sign without feedback, the baseline.

Stability: |v| <= 1 and |y| <= 2 - ||h||_1 give |a| <= 2 and so |v| <= 1 again. The bounds are 1, 2/3 and 29/54, in
rationals; a larger drive is refused. In float32 a step rounds by less than 1e-6, so a drive that stays that much below
the bound keeps |v| <= 1 in float32 as well; at the bound itself |v| may pass 1 by the rounding.
"""

from fractions import Fraction

import numba
import numpy as np

from pipeline.stage import UserError

Array = np.ndarray

TAPS: dict[int, dict[int, Fraction]] = {
    0: {},
    1: {1: Fraction(1)},
    2: {1: Fraction(7, 6), 7: Fraction(-1, 6)},
    3: {1: Fraction(175, 144), 7: Fraction(-25, 108), 25: Fraction(7, 432)},
}
"""order -> {delay: weight}"""

BELOW = 1 - 2.0**-16  # the part of the stable bound to drive to: what is left is more than float32 rounds
ONE = np.float32(1)
MEMORY = 32  # steps of v that the kernel keeps: a power of two above the longest delay
LANES = 512  # vectors that the kernel takes at a time: their v of all MEMORY steps is 64 KiB, in a second cache


def bound(order: int) -> Fraction | None:
    """2 - ||h||_1, the largest drive for which |v| <= 1 is certain; None where there is no feedback (order 0).

    Raises UserError for an order that has no taps here.
    """
    if order not in TAPS:
        raise UserError(f"sigma-delta: there is no modulator of order {order}; there are {', '.join(map(str, TAPS))}")
    return 2 - sum(map(abs, TAPS[order].values()), Fraction(0)) if order else None


def largest(order: int) -> np.float32:
    """The largest float32 drive that is taken: the bound, or of order 0 any that is finite."""
    limit = bound(order)
    return np.finfo(np.float32).max if limit is None else np.float32(float(limit))


def check_stable(drive: Array, order: int) -> None:
    """Raises UserError, naming order and bound, for a drive above the bound (or NaN), at which v could grow."""
    peak = np.abs(drive).max(initial=0)
    if not peak <= largest(order):
        limit = f"the stable bound 2 - ||h||_1 = {bound(order)}" if order else "all finite numbers"
        raise UserError(f"sigma-delta of order {order}: a drive of {peak:.6g} is above {limit}")


def step(state: Array, drive: Array, order: int) -> tuple[Array, Array]:
    """One step of n neurons. `state` [MEMORY, n] holds the last v, newest first; `drive` [n]. Pure.

    Returns the next state and the signs q [n] of -1 and 1, all in the type of `state`.
    """
    a = drive
    for delay, weight in TAPS[order].items():
        a = a + state.dtype.type(float(weight)) * state[delay - 1]
    q = np.where(a >= 0, state.dtype.type(1), state.dtype.type(-1))
    return np.concatenate([(a - q)[None], state[:-1]]), q


def reference(drive: Array, order: int) -> tuple[Array, Array]:
    """The same as `modulate`, step by step: signs q and errors v, both [m, n] in the type of `drive`."""
    signs, errors = np.empty_like(drive), np.empty_like(drive)
    state = np.zeros((MEMORY, drive.shape[1]), drive.dtype)
    for i, y in enumerate(drive):
        state, signs[i] = step(state, y, order)
        errors[i] = state[0]
    return signs, errors


def modulate(drive: Array, order: int) -> Array:
    """float32 drives [m, n] of n vectors, time first, to packed signs uint8 [n, ceil(m / 8)]; a bit is 1 where q is 1.

    Bit for bit what `reference` gives. Raises UserError above the stable bound.
    """
    drive = np.ascontiguousarray(drive, np.float32)
    taps = list(TAPS[order].items())
    delays = np.array([delay for delay, _ in taps], np.int64)
    weights = np.array([float(weight) for _, weight in taps], np.float32)
    packed = np.zeros((-(-len(drive) // 8), drive.shape[1]), np.uint8)
    if _run(drive, delays, weights, largest(order), packed):
        check_stable(drive, order)
    return np.ascontiguousarray(packed.T)


@numba.njit(cache=True, error_model="numpy")
def _run(drive, delays, weights, limit, packed):  # type: ignore[no-untyped-def]
    """Lanes of vectors side by side: each line below is one vector instruction. No fused multiply-add, so exact.

    The sum of bits is as wide as a drive, lest the vector instructions be halved. Returns whether a drive was above
    the limit, or NaN: `packed` then means nothing.
    """
    steps, vectors = drive.shape
    count = len(delays)
    v = np.empty((MEMORY, LANES), np.float32)
    word, bad = np.empty(LANES, np.int32), np.zeros(LANES, np.int32)
    for start in range(0, vectors, LANES):
        width = min(LANES, vectors - start)
        v[:] = 0
        word[:] = 0
        for i in range(steps):
            now = v[i & (MEMORY - 1)]
            y = drive[i, start : start + width]
            for j in range(width):
                bad[j] |= 0 if abs(y[j]) <= limit else 1
            if count == 0:
                for j in range(width):
                    word[j] = (word[j] << 1) | (1 if y[j] >= 0 else 0)
            elif count == 1:
                v1, w1 = v[(i - delays[0]) & (MEMORY - 1)], weights[0]
                for j in range(width):
                    a = y[j] + w1 * v1[j]
                    now[j] = a - (ONE if a >= 0 else -ONE)
                    word[j] = (word[j] << 1) | (1 if a >= 0 else 0)
            elif count == 2:
                v1, w1 = v[(i - delays[0]) & (MEMORY - 1)], weights[0]
                v2, w2 = v[(i - delays[1]) & (MEMORY - 1)], weights[1]
                for j in range(width):
                    a = y[j] + w1 * v1[j] + w2 * v2[j]
                    now[j] = a - (ONE if a >= 0 else -ONE)
                    word[j] = (word[j] << 1) | (1 if a >= 0 else 0)
            else:
                v1, w1 = v[(i - delays[0]) & (MEMORY - 1)], weights[0]
                v2, w2 = v[(i - delays[1]) & (MEMORY - 1)], weights[1]
                v3, w3 = v[(i - delays[2]) & (MEMORY - 1)], weights[2]
                for j in range(width):
                    a = y[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j]
                    now[j] = a - (ONE if a >= 0 else -ONE)
                    word[j] = (word[j] << 1) | (1 if a >= 0 else 0)
            if i % 8 == 7:
                for j in range(width):
                    packed[i // 8, start + j] = word[j] & 255
        if steps % 8:
            for j in range(width):
                packed[steps // 8, start + j] = (word[j] << (8 - steps % 8)) & 255
    return bad.any()
