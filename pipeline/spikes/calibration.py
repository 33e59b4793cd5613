"""Which integer a value is: the range that a spike code's levels span, chosen on fit rows.

    q = clip(round((x - zero_j) / step_j), lowest, highest),    x' = zero_j + q step_j

The range of dimension j is -reach_j .. reach_j, where reach_j is its largest absolute value over the fit rows (with
`per: table` the largest of all dimensions): it goes as far below 0 as above, whatever the values' mean. Signed codes
have zero = 0 and integers -h .. h; unsigned ones zero = -reach and integers 0 .. h. Inside the range an error is at
most half a step and what float32 rounds (at 16 bits about a hundredth of a step).

A value is outside, for all codes that are calibrated alike, if it lies beyond an end of the range by more than float32
rounds: by more than a millionth of the range. Fit rows are never outside; in a dimension that is 0 on all of them,
every other normal number is. Values outside are clipped to the end levels, and `outside` finds them; or, with
`beyond: refuse`, an error names the first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.stage import UserError, check_keys

PER = ("dimension", "table")
BEYOND = ("clip", "refuse")
ROUNDING = 1e-6  # of the range: sums, quotients and steps in float32 are off by a fifth of it
STEP_ROUNDING = 2.0**-150  # half the smallest float32: how far a step below the normal numbers may be off


class Choice(NamedTuple):
    """`spikes` of the configuration."""

    per: str = "dimension"
    beyond: str = "clip"


def choice(options: Mapping[str, Any]) -> Choice:
    """What is not given is as `Choice` has it. Raises UserError for keys and values that there are not."""
    check_keys("spikes", options, Choice._fields)
    found = Choice(**options)
    for name, value, known in (("per", found.per, PER), ("beyond", found.beyond, BEYOND)):
        if value not in known:
            raise UserError(f"spikes: {name} must be {' or '.join(known)}, not {value!r}")
    return found


def fitted(x: Array, highest: int, signed: bool, chosen: Choice) -> dict[str, Array]:
    """`zero` and `step` float32 [d], and `refuses` where values beyond the range are no vectors of this code."""
    reach = np.abs(x).max(axis=0)
    if chosen.per == "table":
        reach = np.full_like(reach, reach.max())
    zero = np.zeros_like(reach) if signed else -reach
    step = (reach if signed else 2 * reach.astype(np.float64)) / highest
    found = {"zero": zero, "step": step.astype(np.float32)}
    return found | ({"refuses": np.ones(1, np.uint8)} if chosen.beyond == "refuse" else {})


def ends(shared: Mapping[str, Array], lowest: int, highest: int) -> tuple[Array, Array]:
    """The range of each dimension: (low, high), float64 [d]."""
    zero, step = (shared[name].astype(np.float64) for name in ("zero", "step"))
    return zero + lowest * step, zero + highest * step


def outside(x: Array, shared: Mapping[str, Array], lowest: int, highest: int) -> Array:
    """bool [n, d]: values beyond the ends of the range by more than float32 rounds."""
    low, high = ends(shared, lowest, highest)
    rounding = ROUNDING * (high - low) + STEP_ROUNDING * (highest - lowest)
    with np.errstate(over="ignore"):  # an end at the largest float32: nothing is beyond infinity
        return (x < (low - rounding).astype(np.float32)) | (x > (high + rounding).astype(np.float32))


def check_inside(x: Array, shared: Mapping[str, Array], lowest: int, highest: int) -> None:
    """Raises UserError, naming row and dimension, for the first of x [n, d] that is outside, if these are refused."""
    if "refuses" not in shared:
        return
    for row, dimension in np.argwhere(outside(x, shared, lowest, highest))[:1]:
        low, high = (end[dimension] for end in ends(shared, lowest, highest))
        what = f"vector {row}: value {x[row, dimension]:g} of dimension {dimension}"
        raise UserError(f"{what} is outside of the calibrated range {low:g} to {high:g}")


def in_steps(x: Array, shared: Mapping[str, Array]) -> Array:
    """(x - zero) / step, neither rounded nor clipped, float32 [n, d]; 0 where the step is."""
    step = shared["step"]
    with np.errstate(over="ignore"):  # far beyond a range of almost nothing: infinite, and clipped as such
        return np.divide(x - shared["zero"], step, out=np.zeros_like(x), where=step > 0)


def integers(x: Array, shared: Mapping[str, Array], lowest: int, highest: int) -> Array:
    """int32 [n, d]. Raises UserError, naming row and dimension, for a value outside if these are refused."""
    check_inside(x, shared, lowest, highest)
    return np.clip(np.rint(in_steps(x, shared)), lowest, highest).astype(np.int32)


def values(q: Array, shared: Mapping[str, Array]) -> Array:
    """float32 [n, d] of integers."""
    return q.astype(np.float32) * shared["step"] + shared["zero"]


def together(
    build: Callable[[str, int], Codec],
) -> Callable[[Sequence[str], int, Array, Mapping[str, Any]], dict[str, Codec]]:
    """A module's `fit_together` (see `pipeline/codec.py`): codecs one by one, by `spikes` of the configuration."""

    def fit(names: Sequence[str], seed: int, x: Array, options: Mapping[str, Any]) -> dict[str, Codec]:
        chosen = choice(options)
        codecs = [build(name, seed) for name in names]
        for codec in codecs:
            if hasattr(codec, "chosen"):
                codec.chosen = chosen
        return {codec.name: codec.fit(x) for codec in codecs}

    return fit
