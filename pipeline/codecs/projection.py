"""Frames that are drawn from a seed: d values of a vector become m drives of a modulator, time first.

    fast JL          rows of H D: D random signs, H the Hadamard matrix of order n = 2^ceil(log2 d), x padded with
                     zeros; rows without replacement; m > n takes B = ceil(m / n) such frames in turns, each with
                     signs and an order of its own (one behind the other, a window of the condensation would sum up
                     whole frames, and sum_i H_i D x is n times one value of x)
    sparse Gaussian  Bernoulli(s) N(0, 1 / s), s = 1/8
    smooth           y(t) = c_0 + sqrt(2) sum_k c_k cos(pi k t), m samples of it: an oversampled signal, for which the
                     feedback's noise is shaped; without a learned basis c is x turned by random signs and cosine
                     transforms, twice

Every entry of the first two has mean 0 and variance 1; of the smooth frame A'A = m I exactly. So |A x|^2 is m |x|^2 in
the mean (for the smooth frame: always). Fast JL and sparse Gaussian: Zhang and Saab, arXiv 2010.00712; the smooth frame
is the classical setting of sigma-delta, bandlimited oversampling (Daubechies and DeVore 2003).

What is shared is the seed, not a matrix: everything is made of `PCG64(seed).random_raw`, raw 64-bit words. NumPy keeps
that stream (and the seeding) fixed across versions; it does not promise so of its distributions, so none is used.
"""

import numba
import numpy as np
import scipy.fft
import scipy.sparse

from pipeline.codec import Array

DENSITY = 1 / 8  # of the sparse Gaussian
LANES = 64  # vectors transformed at a time: 1,024 x 64 floats are 256 KiB, which a second cache holds


def words(seed: int, count: int) -> Array:
    """The seed's first `count` raw words, uint64."""
    return np.random.PCG64(seed).random_raw(count)


def signs_of(raw: Array) -> Array:
    """-1 and 1 by the highest bit of each word, float32."""
    return np.where(raw >> np.uint64(63), np.float32(1), np.float32(-1))


def padded(dims: int) -> int:
    """The smallest power of two that is at least `dims`."""
    return 1 << (dims - 1).bit_length()


def fast_jl(x: Array, steps: int, seed: int) -> Array:
    """float32 [n, d] -> [steps, n]: rows of H D, entries of the frame -1 and 1."""
    order = padded(x.shape[1])
    blocks = -(-steps // order)
    raw = words(seed, 2 * blocks * order).reshape(2, blocks, order)
    rows = np.argsort(raw[1], axis=1, kind="stable")
    drive = np.empty((steps, len(x)), np.float32)
    _hadamard_rows(np.ascontiguousarray(x, np.float32), signs_of(raw[0]), rows, drive)
    return drive


@numba.njit(cache=True, error_model="numpy")
def _hadamard_rows(x, signs, rows, drive):  # type: ignore[no-untyped-def]
    """drive[i] = row rows[b, i // B] of H (signs[b] * x), b = i mod B: butterflies on lanes of vectors side by side."""
    vectors, dims = x.shape
    order = signs.shape[1]
    tile = np.empty((order, LANES), np.float32)
    for start in range(0, vectors, LANES):
        width = min(LANES, vectors - start)
        for block in range(len(signs)):
            for k in range(order):
                for j in range(width):
                    tile[k, j] = signs[block, k] * x[start + j, k] if k < dims else np.float32(0)
            half = 1
            while half < order:
                for base in range(0, order, 2 * half):
                    for k in range(base, base + half):
                        upper, lower = tile[k], tile[k + half]
                        for j in range(width):
                            a, b = upper[j], lower[j]
                            upper[j] = a + b
                            lower[j] = a - b
                half *= 2
            for i in range(block, len(drive), len(signs)):
                row, out = tile[rows[block, i // len(signs)]], drive[i]
                for j in range(width):
                    out[start + j] = row[j]


def normal(raw: Array) -> Array:
    """Raw words [2 n] to n standard normal float64, by Box and Muller (1958)."""
    first, second = ((raw >> np.uint64(11)).astype(np.float64).reshape(2, -1) + 0.5) * 2.0**-53  # inside (0, 1)
    return np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)


def dense_gaussian(x: Array, steps: int, seed: int) -> Array:
    """float32 [n, d] -> [steps, n]; the frame's entries are N(0, 1). What the theory speaks of; no codec's frame."""
    return normal(words(seed, 2 * steps * x.shape[1])).reshape(steps, -1).astype(np.float32) @ x.T


def sparse_gaussian(x: Array, steps: int, seed: int) -> Array:
    """float32 [n, d] -> [steps, n]; the frame's entries are 0, or N(0, 1 / s) with probability s."""
    stream = np.random.PCG64(seed)
    kept = np.flatnonzero(stream.random_raw(steps * x.shape[1]) < np.uint64(int(DENSITY * 2**64)))
    values = normal(stream.random_raw(2 * len(kept))) / np.sqrt(DENSITY)
    place = np.divmod(kept, x.shape[1])
    frame = scipy.sparse.csr_array((values.astype(np.float32), place), shape=(steps, x.shape[1]))
    return frame @ np.ascontiguousarray(x.T)


def oversampled(coefficients: Array, steps: int) -> Array:
    """float32 [n, d] -> [steps, n]: samples of the cosine series with these coefficients, steps >= d."""
    whole = np.zeros((steps, len(coefficients)), np.float32)
    whole[: coefficients.shape[1]] = coefficients.T
    return scipy.fft.idct(whole, axis=0, norm="ortho", overwrite_x=True) * np.float32(np.sqrt(steps))


def turned(x: Array, seed: int) -> Array:
    """An orthogonal map of float32 [n, d] that spreads each value over all: signs, cosine transform, and both again."""
    first, second = signs_of(words(seed, 2 * x.shape[1])).reshape(2, -1)
    return scipy.fft.dct(second * scipy.fft.dct(first * x, norm="ortho"), norm="ortho")
