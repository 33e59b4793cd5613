"""Funnel search: a short prefix of every code finds a shortlist, the whole codes of the shortlist rank it.

As in Kusupati et al. (2022) for Matryoshka embeddings; here both stages read the same packed code.
"""

from collections.abc import Callable

import numpy as np

from pipeline.codec import Array, Codes, Search

SHORTLIST = 10  # rows on the shortlist for each that is asked for
PART = 4  # the prefix is this part of the code
FEWEST_BITS = 1024  # shorter codes are searched whole


def search(prefix: Search, codes: Codes, decode: Callable[[Codes], Array]) -> Search:
    """Of the SHORTLIST k rows that `prefix` finds for a query those k whose decoded rows have the largest cosine."""

    def found(queries: Array, k: int) -> Array:
        shortlist = np.sort(prefix(queries, min(SHORTLIST * k, len(codes))), axis=1)
        rows, places = np.unique(shortlist, return_inverse=True)
        decoded = decode(codes.take(rows))
        lengths = np.linalg.norm(decoded, axis=1)
        every = queries @ (decoded / np.where(lengths > 0, lengths, 1)[:, None]).T
        scores = np.take_along_axis(every, places.reshape(shortlist.shape), axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(shortlist, order, axis=1)
        return np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=-1)

    return found
