"""Where in its range a value is, 0 to 1: what codes take whose neurons are given a strength and no integer.

    u = (x - zero_j) / step_j,    x' = zero_j + u step_j

`zero` and `step` are those of `calibration.fitted` for two levels: the ends of dimension j's range.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.codec import Array, check_vectors
from pipeline.spikes import calibration


def fitted(x: Array, chosen: calibration.Choice) -> dict[str, Array]:
    """`zero` and `step` float32 [d], and `refuses` where values beyond the range are no vectors of this code.

    Raises UserError for what are no vectors float32 [n, d].
    """
    return calibration.fitted(check_vectors(x), 1, False, chosen)


def outside(x: Array, shared: Mapping[str, Array]) -> Array:
    """bool [n, d]: values beyond their range."""
    u = _unbounded(x, shared)
    return (u < 0) | (u > 1)


def fractions(x: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] in 0 .. 1; values beyond the range are clipped.

    Raises UserError for what are no vectors of this width, and, naming row and dimension, for a value beyond the range
    if these are refused.
    """
    u = _unbounded(check_vectors(x, len(shared["step"])), shared)
    if "refuses" in shared:
        calibration.check_inside(x, (u < 0) | (u > 1), shared["zero"], shared["zero"] + shared["step"])
    return np.clip(u, 0, 1)


def _unbounded(x: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d]; 0 where the range is no range."""
    step = shared["step"]
    with np.errstate(over="ignore"):  # far beyond a range of almost nothing: infinite, and then outside
        return np.divide(x - shared["zero"], step, out=np.zeros_like(x), where=step > 0)


def values(u: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] of fractions, float64 too."""
    return (u * shared["step"] + shared["zero"]).astype(np.float32)
