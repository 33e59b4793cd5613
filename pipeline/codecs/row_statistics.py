"""Mean, covariance and a sample of rows that come in blocks, so that there may be more of them than memory holds.

Sums are float64. The covariance is that of rows less their mean, in a second pass: nothing large cancels.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.codec import Array, check_vectors
from pipeline.stage import UserError


def mean_and_sample(blocks: Iterable[Array], most: int, seed: int) -> tuple[Array, Array, int]:
    """Mean float32 [d], a sample float32 [min(most, n), d] and n, of blocks float32 [n_i, d].

    The sample is all rows in their order where there are no more than `most`; else each row is in it with the same
    chance (algorithm R, Vitter 1985), whatever the blocks are. Raises UserError for blocks that are no usable vectors,
    or none.
    """
    rng = np.random.default_rng(seed)
    total, count, sample = np.zeros(0), 0, np.zeros((0, 0), np.float32)
    for block in blocks:
        if not count:
            sample = np.empty((most, check_vectors(block).shape[1]), np.float32)  # pages not written take no memory
            total = np.zeros(sample.shape[1])
        total += check_vectors(block, len(total)).sum(axis=0, dtype=np.float64)
        first = min(max(most - count, 0), len(block))
        sample[count : count + first] = block[:first]
        places = rng.integers(0, np.arange(count + first, count + len(block)) + 1)
        kept = np.flatnonzero(places < most)
        sample[places[kept]] = block[first:][kept]  # of two rows for a place the later one stays
        count += len(block)
    if not count:
        raise UserError("no vectors to fit on")
    return (total / count).astype(np.float32), sample[:count], count


def covariance(blocks: Iterable[Array], mean: Array, count: int) -> Array:
    """Mean of (x - mean)(x - mean)^T, float64 [d, d]. Raises UserError unless there are `count` rows."""
    total, found = np.zeros((len(mean), len(mean))), 0
    for block in blocks:
        centred = (check_vectors(block, len(mean)) - mean).astype(np.float64)
        total += centred.T @ centred
        found += len(block)
    if found != count:
        raise UserError(f"the vectors have changed while they were read: {count} rows, then {found}")
    return total / count
