"""Principal axes of centred rows, as they are and as int8, each with a scale of its own, and what undoes them.

Rounding them costs nothing: codes are made with the rounded axes, and the pseudo-inverse is theirs.
"""

import numpy as np

from pipeline.codec import Array

LEVELS = 127


def of(centred: Array) -> tuple[Array, Array]:
    """Axes float64 [d, d], a column an axis, of falling variance, and the variances [d]. Centred rows [n, d]."""
    centred = centred.astype(np.float64)
    return of_covariance(centred.T @ centred / len(centred))


def of_covariance(covariance: Array) -> tuple[Array, Array]:
    """The same, from the covariance float64 [d, d]."""
    variances, axes = np.linalg.eigh(covariance)
    return axes[:, ::-1], np.maximum(variances[::-1], 0)


def rounded(axes: Array) -> Array:
    """Axes as int8 [d, d], the largest value of each LEVELS."""
    return np.rint(axes / np.abs(axes).max(axis=0) * LEVELS).astype(np.int8)


def stored(centred: Array) -> tuple[Array, Array]:
    """Axes and variances of centred rows [n, d], the axes as int8."""
    axes, variances = of(centred)
    return rounded(axes), variances


def inverse(axes: Array, reach: Array) -> Array:
    """float32 [k, d], from y_j = reach_j a_j . x to the x of least squares. `axes` int8 [d, k]; where reach is 0, 0."""
    found = np.linalg.pinv(axes.astype(np.float64))
    return np.divide(found, reach[:, None], out=np.zeros_like(found), where=reach[:, None] > 0).astype(np.float32)
