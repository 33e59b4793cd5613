"""Where in its range a value is, 0 to 1: what codes take whose neurons are given a strength and no integer.

    u = (x - zero_j) / step_j,    x' = zero_j + u step_j

`zero` and `step` are those of `calibration.fitted` for two levels: the ends of dimension j's range.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.codec import Array, check_vectors
from pipeline.spikes import calibration

ENDS = (0, 1)


def fitted(x: Array, chosen: calibration.Choice) -> dict[str, Array]:
    """`zero` and `step` float32 [d], and `refuses` where values beyond the range are no vectors of this code.

    Raises UserError for what are no vectors float32 [n, d].
    """
    return calibration.fitted(check_vectors(x), 1, False, chosen)


def outside(x: Array, shared: Mapping[str, Array]) -> Array:
    """bool [n, d]: values outside of their range, as `calibration` has it."""
    return calibration.outside(x, shared, *ENDS)


def fractions(x: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] in 0 .. 1, 0 where the range is no range; values outside are clipped.

    Raises UserError for what are no vectors of this width, and, naming row and dimension, for a value outside if these
    are refused.
    """
    calibration.check_inside(check_vectors(x, len(shared["step"])), shared, *ENDS)
    return np.clip(calibration.in_steps(x, shared), *ENDS)


def values(u: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] of fractions, float64 too."""
    return (u * shared["step"] + shared["zero"]).astype(np.float32)
