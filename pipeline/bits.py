"""Packed bits: eight to a byte, most significant first, the last byte padded with zeros."""

import faiss
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

    The padding always agrees, so it does not matter whether a byte's first bit is its highest (numpy, this file) or its
    lowest (faiss).
    """
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    found = np.empty((len(a), len(b)), np.int32)
    pointers = (faiss.swig_ptr(array) for array in (a, b))
    # Counts a word of bits at once.
    faiss.hammings(*pointers, len(a), len(b), a.shape[1], faiss.swig_ptr(found))  # type: ignore[attr-defined]
    return (np.float32(count) - 2 * found).astype(np.float32) / np.float32(count)
