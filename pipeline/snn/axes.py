"""Principal axes, and whether it is worth training others: a step along the gradient, judged by rows it has not seen.

The surrogate is that of `spikingjam_training`, mean log(1 + (y / delta)^2) of y = x R. Its gradient within the
orthogonal matrices is R S, S = R^T G - G^T R with G the gradient in R; the step turns R so that no entry of S moves it
by more than `ANGLE`. Where the gradient comes from the sample alone, the surrogate of held-out rows does not fall: so
it is on the default tables, and torch is not even loaded. Where sources are sparse in other axes it falls by 1 %.
"""

import numpy as np

from pipeline.codec import Array, NotApplicableError

ANGLE = 0.01  # of a turn by one step, at most
HELD_OUT = 10  # one row in so many is held out
LEAST = 1e-3  # part of the surrogate by which it has to fall


def centred(x: Array, name: str) -> Array:
    """Rows float32 [n, d] without their mean, of mean square 1. Raises NotApplicableError, naming the codec, where all
    are equal."""
    rows = (x - x.mean(axis=0, dtype=np.float64)).astype(np.float32)
    scale = np.sqrt(np.square(rows, dtype=np.float64).mean())
    if not scale:
        raise NotApplicableError(f"{name}: layer of {x.shape[1]} neurons: none fires, for all rows are equal")
    return rows / np.float32(scale)


def principal(rows: Array) -> Array:
    """R float32 [d, d] of centred rows [n, d]: principal axes, largest variance first."""
    found = np.linalg.eigh(rows.T.astype(np.float64) @ rows)[1]
    return np.ascontiguousarray(found[:, ::-1], np.float32)


def parts(x: Array, seed: int) -> tuple[Array, Array]:
    """Rows held out [h, d], and the others; a single row is both."""
    order = np.random.default_rng(seed).permutation(len(x))
    held = max(1, len(x) // HELD_OUT)
    return x[order[:held]], x[order[held:]] if len(x) > 1 else x


def surrogate(y: Array, delta: float) -> float:
    """mean log(1 + (y / delta)^2)."""
    return float(np.log1p(np.square(y / delta, dtype=np.float64)).mean())


def turned(x: Array, axes: Array, delta: float) -> Array:
    """The axes float32 [d, d] after the step that rows x [n, d] ask for."""
    y = x @ axes
    gradient = x.T @ (y / (delta**2 + np.square(y)))
    skew = (axes.T @ gradient).astype(np.float64)
    skew -= skew.T
    largest = np.abs(skew).max()
    if not largest:
        return axes
    left, _, right = np.linalg.svd(np.eye(len(skew)) - skew * (ANGLE / largest))
    return np.asarray(axes @ (left @ right), np.float32)


def helps(train: Array, held: Array, axes: Array, delta: float) -> bool:
    """Whether the surrogate of held-out rows [m, d] falls when axes turn as rows `train` [n, d] ask for."""
    before, after = (surrogate(held @ one, delta) for one in (axes, turned(train, axes, delta)))
    return after < (1 - LEAST) * before
