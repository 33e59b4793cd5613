"""How much of a vector comes back: errors of decoded test rows against the originals.

Everything is returned one value an item, so that `statistics` can resample; mu is the mean of the fit rows.
"""

import numba
import numpy as np

from pipeline import exhaustive
from pipeline.codec import Array

DISTANCE_PAIRS = 100_000


def squared_errors(x: Array, decoded: Array, mu: Array) -> tuple[Array, Array]:
    """|x - x'|^2 and |x - mu|^2 of each row, float64 [n]: `relative_mse` is the ratio of their sums."""
    error, spread = (part.astype(np.float64) for part in (x - decoded, x - mu))
    return np.einsum("nd,nd->n", error, error), np.einsum("nd,nd->n", spread, spread)


def centered_cosines(x: Array, decoded: Array, mu: Array) -> Array:
    """cos(x - mu, x' - mu) of each row, float64 [n]; 0 for a row that decodes to mu itself."""
    a, b = (part.astype(np.float64) - mu for part in (x, decoded))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.einsum("nd,nd->n", a, b), norms, out=np.zeros(len(x)), where=norms > 0)


def exact_shares(x: Array, decoded: Array) -> Array:
    """Share of values of each row that come back bit for bit as float32, float64 [n]."""
    same = x.view(np.uint32) == np.ascontiguousarray(decoded, np.float32).view(np.uint32)
    return same.mean(axis=1)


def identified(decoded_unit: Array, rows: Array, nearest: exhaustive.Search) -> Array:
    """Whether the original nearest to each decoded row is its own, bool [q]. A weak measure: 42 bits can have it.

    `nearest` searches all originals by cosine; `rows` [q] are the decoded rows' own numbers among them.
    """
    return nearest(decoded_unit, 1)[:, 0] == rows


def distance_errors(x: Array, decoded: Array, seed: int) -> tuple[Array, Array]:
    """Absolute relative errors of Euclidean distances over 100,000 random pairs of rows, as one share a row.

    Returns (numerators [n], counts [n]): `distance_mape` is the ratio of their totals. Pairs share rows, so it is rows
    that are independent and are resampled. A pair counts half for each of its rows. A mean over pairs varies twice as
    much as a mean over rows (Hoeffding 1948: its projection on single rows is 2 / n sum (h(x_i) - theta)), so the
    numerators are 2 sums - theta counts: their ratio is still theta, and resampled rows move it as far as they should.
    Pairs of equal rows have no relative error and are left out.
    """
    assert x.shape == decoded.shape  # compiled code would read beyond the end
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(x), DISTANCE_PAIRS)
    second = (first + rng.integers(1, len(x), DISTANCE_PAIRS)) % len(x)  # never the row itself
    true, found = _pair_distances(x, first, second), _pair_distances(decoded, first, second)
    known = true > 0
    errors = np.abs(found[known] - true[known]) / true[known]
    sums, counts = np.zeros(len(x)), np.zeros(len(x))
    for row in (first[known], second[known]):
        sums += np.bincount(row, weights=errors, minlength=len(x)) / 2
        counts += np.bincount(row, minlength=len(x)) / 2
    theta = sums.sum() / max(counts.sum(), 1)
    return 2 * sums - theta * counts, counts


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def _pair_distances(x, first, second):  # type: ignore[no-untyped-def]
    """Euclidean distances between rows first[i] and second[i], float64."""
    found = np.empty(len(first))
    for i in range(len(first)):
        a, b, total = x[first[i]], x[second[i]], 0.0
        for j in range(x.shape[1]):
            difference = np.float64(a[j]) - np.float64(b[j])
            total += difference * difference
        found[i] = np.sqrt(total)
    return found
