"""Which integer a value is: the range that a spike code's levels span, chosen on fit rows.

    q = clip(round((x - zero_j) / step_j), lowest, highest),    x' = zero_j + q step_j

The range of dimension j is its largest absolute value over the fit rows, so that the mean step is the same on both
sides of 0 (with `per: table` it is the largest of all). Signed codes have zero = 0 and integers -h .. h; unsigned ones
zero = -range and integers 0 .. h. Inside the range an error is at most half a step. Values outside it are clipped, and
`outside` counts them; or, with `beyond: refuse`, an error names the first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.stage import UserError, check_keys

PER = ("dimension", "table")
BEYOND = ("clip", "refuse")


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


def outside(x: Array, shared: Mapping[str, Array], lowest: int, highest: int) -> Array:
    """bool [n, d]: values whose nearest level would lie beyond the last, and any other than that of a constant."""
    steps = _steps(x, shared)
    return (steps < lowest) | (steps > highest) | ((shared["step"] == 0) & (x != shared["zero"]))


def integers(x: Array, shared: Mapping[str, Array], lowest: int, highest: int) -> Array:
    """int32 [n, d]. Raises UserError, naming row and dimension, for a value beyond the range if these are refused."""
    if "refuses" in shared:
        low, high = (values(np.full(x.shape[1], end), shared) for end in (lowest, highest))
        check_inside(x, outside(x, shared, lowest, highest), low, high)
    return np.clip(_steps(x, shared), lowest, highest).astype(np.int32)


def check_inside(x: Array, beyond: Array, low: Array, high: Array) -> None:
    """Raises UserError, naming row and dimension, for the first of x [n, d] that is `beyond` low .. high [d]."""
    for row, dimension in np.argwhere(beyond)[:1]:
        what = f"vector {row}: value {x[row, dimension]:g} of dimension {dimension}"
        raise UserError(f"{what} is outside of the calibrated range {low[dimension]:g} to {high[dimension]:g}")


def _steps(x: Array, shared: Mapping[str, Array]) -> Array:
    """Rounded, float32 [n, d]; 0 where the step is."""
    step = shared["step"]
    with np.errstate(over="ignore"):  # far beyond a range of almost nothing: infinite, and then outside
        return np.rint(np.divide(x - shared["zero"], step, out=np.zeros_like(x), where=step > 0))


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
