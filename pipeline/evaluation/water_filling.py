"""Reverse water-filling: how small the squared error of a Gaussian source of a given covariance can be at a given rate.

With eigenvalues lambda_i of the covariance (T. M. Cover and J. A. Thomas, "Elements of Information Theory", 10.3.3)

    R = sum_i max(0, 1/2 log2(lambda_i / theta))  bits a vector,      D = sum_i min(lambda_i, theta),

theta the water level. The levels are found exactly, not by search: with the k largest eigenvalues above the water,
log2 theta = (sum_(i<=k) log2 lambda_i - 2 R) / k, or theta = (D - sum_(i>k) lambda_i) / k, and only one k agrees with
itself.

It is a reference, not a bound. Rate and error are what long blocks of vectors could reach together; and data that are
not Gaussian may go below it: of all sources of one covariance the Gaussian is the hardest.
"""

import numpy as np

from pipeline.codec import Array

NOTHING = 1e-12  # of the largest eigenvalue: below it is what rounding leaves of zero


def spectrum(x: Array) -> Array:
    """Eigenvalues of the covariance of rows [n, d] about their mean, falling, those that are zero left out."""
    centred = np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)
    # The smaller of the two products has the same eigenvalues but for zeros.
    product = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    values = np.linalg.eigvalsh(product)[::-1] / len(centred)
    largest = float(values[0])
    return values[values > NOTHING * largest] if largest > 0 else values[:0]


def distortion(eigenvalues: Array, rate: float) -> float:
    """The least mean squared error of a vector at `rate` bits. `eigenvalues` fall, all above 0; there may be none."""
    if not len(eigenvalues):
        return 0.0
    above = np.arange(1, len(eigenvalues) + 1)
    levels = (np.cumsum(np.log2(eigenvalues)) - 2 * rate) / above  # log2 theta, if that many are above the water
    k = int(np.count_nonzero(levels <= np.log2(eigenvalues))) - 1  # it holds up to some k, and not behind it
    return float(above[k] * np.exp2(levels[k]) + eigenvalues[k + 1 :].sum())


def rate(eigenvalues: Array, error: float) -> float:
    """The least bits a vector for a mean squared error of `error` > 0; 0 where it is the variance or more."""
    if error >= eigenvalues.sum():
        return 0.0
    above = np.arange(1, len(eigenvalues) + 1)
    tails = np.append(np.cumsum(eigenvalues[::-1])[::-1][1:], 0.0)
    levels = (error - tails) / above
    k = max(int(np.count_nonzero(levels <= eigenvalues)), 1) - 1  # at least one is above, however the sums were rounded
    return float(np.log2(eigenvalues[: k + 1] / levels[k]).sum() / 2)
