"""Recall@10: how many of a query's ten nearest neighbours by the metric a search over codes finds again."""

import numpy as np

from pipeline.codec import Array, Search

K = 10


def neighbours(search: Search, queries: Array, own: Array, k: int = K) -> Array:
    """The k rows nearest to each query, itself left out: int64 [q, k].

    `own` [q] are the queries' own row numbers in the base. One more is asked for; where the query itself is not among
    them (a lossy code may rank it low), the last is dropped.
    """
    found = search(queries, k + 1)
    is_own = found == own[:, None]
    is_own[~is_own.any(axis=1), k] = True
    return found[~is_own].reshape(len(found), k)


def overlaps(found: Array, true: Array) -> Array:
    """Share of each query's true neighbours among those found, float64 [q]. Order within the ten does not count.

    A base of fewer than eleven rows has fewer than ten neighbours to find: the -1 in their places are left out.
    """
    hits = (found[:, :, None] == true[:, None, :]).any(axis=1) & (true >= 0)
    return hits.sum(axis=1) / (true >= 0).sum(axis=1)


def pick_queries(test: Array, count: int, seed: int) -> Array:
    """Up to `count` positions within the test rows, sorted, int64."""
    if len(test) <= count:
        return np.arange(len(test))
    return np.sort(np.random.default_rng(seed).choice(len(test), count, replace=False))
