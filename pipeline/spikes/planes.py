"""What encoders share: a code says which neurons fire in each step; this packs it, a block of rows at a time.

Besides the train itself, memory holds a few arrays of `BLOCK` neurons.
"""

import re
from collections.abc import Callable, Iterator

import numba
import numpy as np

from pipeline.codec import Array
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

BLOCK = 2**15  # neurons of all the rows of a block: a few arrays of int32 fit in a second cache
MOST_STEPS = 4096


def train(q: Array, steps: int, fired: Callable[[Array], Iterator[Array]], neurons_per_value: int = 1) -> SpikeTrain:
    """The train of q int32 [n, d]; `fired`, given some rows q [b, d], yields bool [b, d p] of each step in turn."""
    neurons = q.shape[1] * neurons_per_value
    packed = np.empty((len(q), steps, -(-neurons // 8)), np.uint8)
    for block in blocks(len(q), neurons):
        for step, plane in enumerate(fired(q[block])):
            packed[block, step] = np.packbits(plane, axis=1)
    return SpikeTrain(packed, neurons)


def blocks(count: int, neurons: int) -> Iterator[slice]:
    """`count` rows of `neurons` each, some at a time."""
    rows = max(1, BLOCK // neurons)
    return (slice(start, start + rows) for start in range(0, count, rows))


def by_level(q: Array, levels: int, encode: Callable[[Array], SpikeTrain]) -> SpikeTrain:
    """The train of q int [n, d], whole numbers below `levels`, looked up in the train of all levels.

    For codes in which a value's neurons depend on its integer alone, fill whole bytes and have no sign.

    Raises ValueError for other integers.
    """
    if not (q.min(initial=0) >= 0 and q.max(initial=0) < levels):
        raise ValueError(f"integers from {q.min()} to {q.max()}: expected 0 to {levels - 1}")
    of_level = encode(np.arange(levels, dtype=q.dtype)[:, None])
    width = of_level.packed.shape[2]
    packed = np.empty((len(q), of_level.timesteps, q.shape[1] * width), np.uint8)
    _look_up(q, of_level.packed, packed.reshape(*packed.shape[:2], q.shape[1], width))
    return SpikeTrain(packed, q.shape[1] * of_level.neurons)


@numba.njit(cache=True)
def _look_up(q, of_level, packed):  # type: ignore[no-untyped-def]
    for v in range(q.shape[0]):
        for t in range(packed.shape[1]):
            for j in range(q.shape[1]):
                for byte in range(packed.shape[3]):
                    packed[v, t, j, byte] = of_level[q[v, j], t, byte]


def with_signs(unsigned: SpikeTrain, negative: Array) -> SpikeTrain:
    """The train with all spikes of the neurons `negative` bool [n, P] made negative."""
    signs = unsigned.packed & np.packbits(negative, axis=1)[:, None]
    return SpikeTrain(unsigned.packed, unsigned.neurons, signs)


def evenly(drive: Array, start: int | Array, threshold: int, steps: int) -> Iterator[Array]:
    """Who fires in steps t = 1 .. `steps`: where floor((start + drive t) / threshold) grows; bool as wide as `drive`.

    With 0 <= start < threshold and 0 <= drive <= threshold it is `neurons/integrate_fire.py`, `step`, spike for spike.
    """
    level = np.zeros_like(drive) + start
    count, before = np.empty_like(level), np.zeros_like(level)
    for _ in range(steps):
        level += drive
        np.floor_divide(level, threshold, out=count)
        yield count != before
        count, before = before, count


def timesteps(name: str, code: str, least: int) -> int:
    """T of a name `<code>_<T>`. Raises UserError for another name, or a T below the least that has two levels."""
    found = re.fullmatch(code + "_(0|[1-9][0-9]{0,8})", name)
    if not found:
        raise UserError(f"representations: {code} has no codec {name!r}; its names are {code}_<timesteps>")
    steps = int(found[1])
    if not least <= steps <= MOST_STEPS:
        raise UserError(f"representations: {name!r}: it takes at least {code}_{least}, at most {code}_{MOST_STEPS}")
    return steps
