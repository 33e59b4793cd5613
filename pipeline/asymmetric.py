"""Asymmetric search: float queries against codes that stay packed, by the cosine of query and decoded row.

It ranks as `decoded` does, but what it keeps is the codes alone: a block of rows is decoded, compared and forgotten. So
its memory is the codes' and its speed has the decoding in it.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pipeline.codec import Array, Codes, Search, Strings

BLOCK = 4096


def cosine(codes: Codes, decode: Callable[[Codes], Array]) -> Search:
    """Largest q . x' / |x'|, x' the decoded row; a row that decodes to zero scores 0.

    Codes of which several vectors share a string cannot be cut into blocks: they are decoded at once, or refused so.
    """
    shared = any(isinstance(array, Strings) and array.group != 1 for array in codes.arrays.values())
    size = len(codes) if shared else BLOCK

    def search(queries: Array, k: int) -> Array:
        def scores() -> Iterator[Array]:
            for start in range(0, len(codes), size):
                block = decode(codes if shared else codes.take(np.arange(start, min(start + size, len(codes)))))
                lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
                yield queries @ block.T / np.where(lengths > 0, lengths, 1)

        return best(scores(), len(queries), k)

    return search


def best(blocks: Iterable[Array], queries: int, k: int) -> Array:
    """Row numbers int64 [queries, k] of the largest of scores that come in blocks of rows, float32 [queries, rows]."""
    scores, rows, start = np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64), 0
    for found in blocks:
        scores = np.concatenate([scores, found], axis=1)
        here = np.arange(start, start + found.shape[1])
        rows = np.concatenate([rows, np.broadcast_to(here, found.shape)], axis=1)
        kept = _largest(scores, k)
        scores, rows = np.take_along_axis(scores, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
        start += found.shape[1]
    return np.pad(rows, ((0, 0), (0, k - rows.shape[1])), constant_values=-1)


def _largest(scores: Array, k: int) -> Array:
    """Places of the k largest of each row (all, if there are fewer), largest first."""
    if scores.shape[1] > k:
        places = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    else:
        places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
