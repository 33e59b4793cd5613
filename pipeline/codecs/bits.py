"""Packed bits: eight to a byte, most significant first, the last byte padded with zeros."""

import numpy as np

from pipeline.codec import Array


def pack(bits: Array) -> Array:
    """bool [n, b] -> uint8 [n, ceil(b / 8)]."""
    return np.packbits(bits, axis=1)


def unpack(packed: Array, count: int) -> Array:
    """uint8 [n, ceil(count / 8)] -> bool [n, count]."""
    return np.unpackbits(packed, axis=1, count=count).view(bool)


def signs(packed: Array, count: int) -> Array:
    """uint8 [n, ceil(count / 8)] -> float32 [n, count] of -1 and +1."""
    return unpack(packed, count).astype(np.float32) * 2 - 1


def hamming_similarity(a: Array, b: Array, count: int) -> Array:
    """1 - 2 h / count for all pairs of packed rows, h their Hamming distance: the cosine of their +-1 vectors.

    Whole bytes are compared and the padding, which always agrees, is taken off again: so it does not matter whether
    the first bit of a byte is its highest (numpy, this file) or its lowest (faiss). The product of +-1 vectors is an
    integer below 2^24, so float32 holds it exactly.
    """
    stored = 8 * a.shape[1]
    return (signs(a, stored) @ signs(b, stored).T - np.float32(stored - count)) / np.float32(count)
