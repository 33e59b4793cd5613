"""Bootstrap intervals: 95 %, percentile, by resampling the items of a measurement (Efron & Tibshirani 1993, ch. 13).
`paired` is Student's, of a mean difference over seeds.

A resample of n items is n draws with replacement. It is held as a row of multiplicities w, so that every statistic here
is a sum over items weighted by w and all resamples are one matrix product. The resamples of n items are the same for
every representation, so differences between rows are not blurred by the drawing.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from pipeline.codec import Array

RESAMPLES = 1000
LOW, HIGH = 2.5, 97.5  # percentiles


class Estimate(NamedTuple):
    """A statistic and its 95 % interval; all three are nan where there are no items."""

    value: float
    low: float
    high: float


NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


@lru_cache(maxsize=8)
def multiplicities(items: int) -> Array:
    """float32 [RESAMPLES, items]: how often each item is drawn in each resample; each row sums to `items`."""
    rng = np.random.default_rng(items)
    weights = np.empty((RESAMPLES, items), np.float32)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, items, items), minlength=items)
    return weights


def _interval(statistic: Array) -> tuple[float, float]:
    low, high = np.nanpercentile(statistic, [LOW, HIGH])
    return float(low), float(high)


def mean(values: Array) -> Estimate:
    """The mean of one value an item, [n]."""
    return ratio(values, np.ones(len(values)))


def ratio(numerators: Array, denominators: Array) -> Estimate:
    """The ratio of two sums over items, each [n]. Items are resampled whole (numerator with denominator)."""
    if not np.any(denominators):
        return NOTHING
    value = np.sum(numerators, dtype=np.float64) / np.sum(denominators, dtype=np.float64)
    # The product is in float32, for speed: parts of one scale each, so that none of it overflows or vanishes.
    scales = [max(float(np.abs(part).max()), 1e-300) for part in (numerators, denominators)]
    weights = multiplicities(len(numerators))
    above, below = (
        weights @ (np.asarray(part, np.float64) / scale).astype(np.float32)
        for part, scale in zip((numerators, denominators), scales, strict=True)
    )
    known = below > 0  # a resample may hold nothing to divide by
    if not known.any():
        return NOTHING
    return Estimate(float(value), *_interval(above[known] / below[known] * (scales[0] / scales[1])))


def _ranks(order: Array, weights: Array) -> Array:
    """Average ranks [resamples, n] of items that stand `weights` times; ties share theirs. `order`: dense ranks [n]."""
    sorter = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[sorter], prepend=-1))
    counts = np.add.reduceat(weights[:, sorter], starts, axis=1)  # how many draws share each value
    average = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return average[:, order]


def spearman(x: Array, y: Array) -> Estimate:
    """Spearman's rank correlation of two scores an item, [n] each; ties get their average rank."""
    if len(x) < 2:
        return NOTHING
    weights = np.vstack([np.ones(len(x)), multiplicities(len(x))])  # row 0: the sample itself
    rank_x, rank_y = (_ranks(np.unique(score, return_inverse=True)[1], weights) for score in (x, y))
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    rank_x, rank_y = rank_x - middle, rank_y - middle

    def weighted(a: Array, b: Array) -> Array:
        return np.einsum("rn,rn,rn->r", weights, a, b)

    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without variance has no correlation
        rho = weighted(rank_x, rank_y) / np.sqrt(weighted(rank_x, rank_x) * weighted(rank_y, rank_y))
    if np.isnan(rho[0]):
        return NOTHING
    return Estimate(float(rho[0]), *_interval(rho[1:]))


def paired(differences: Sequence[float]) -> Estimate:
    """The mean m of n differences and Student's 95 % interval, m +- t(n - 1) s / sqrt(n); of one, none (nan)."""
    count = len(differences)
    if not count:
        return NOTHING
    middle = sum(differences) / count
    if count == 1:
        return Estimate(middle, NOTHING.low, NOTHING.high)
    spread = math.sqrt(sum((one - middle) ** 2 for one in differences) / (count - 1))
    reach = float(stdtrit(count - 1, 0.975)) * spread / math.sqrt(count)
    return Estimate(middle, middle - reach, middle + reach)
