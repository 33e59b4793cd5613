"""Word similarity: Spearman's correlation of a code's similarities with human scores, on the pairs that are covered."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.codec import Array


@dataclass(frozen=True)
class Pairs:
    """The covered pairs of one set: row numbers `first`, `second` [n] and human `scores` [n]; `total` pairs in all."""

    first: Array
    second: Array
    scores: Array
    total: int


def covered(pairs: pa.Table, rows: Mapping[str, int]) -> Pairs:
    """The pairs (columns word1, word2, score) of which both words have a row."""
    found = [
        (rows[a], rows[b], score)
        for a, b, score in zip(*(pairs.column(c).to_pylist() for c in ("word1", "word2", "score")), strict=True)
        if a in rows and b in rows
    ]
    first, second, scores = (np.array(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    return Pairs(np.asarray(first, np.int64), np.asarray(second, np.int64), np.asarray(scores, float), len(pairs))
