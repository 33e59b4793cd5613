"""Which decision about which component comes next: what `bit_planes` learns of the fit rows.

A component y, |y| < 1, is known plane by plane, T = 2^-(plane + 1) being the weight of a plane's bit. Two kinds of
decision lead from one plane to the next, and the component's state says which of them applies:

- ZERO, while y is not known to differ from 0: is |y| < T? If not, the sign follows.
- NEXT, afterwards: in which half of its interval does |y| lie?

Each has a price in bits and an expected fall of the squared error, and the steepest come first, as in Taubman's (2000)
optimal truncation of images. With q the share of those that are not zero and m = (1 + rise) T their mean,

    ZERO: q m^2 / (H(q) + q)        NEXT: (2 T)^2 / 12 - T^2 / 12 = T^2 / 4 for its one bit,

both over r^2, since y is r times what is to be told.
"""

from typing import NamedTuple

import numpy as np

from pipeline.codec import Array
from pipeline.codecs.binary_coder import chance_of

PLANES = 20  # of the largest component: 120 dB
KINDS = 2
ZERO, NEXT = range(KINDS)
RISE = 0.45  # where the mean lies in an interval of a falling density, before rows tell; as much as EARLIER rows
EARLIER = 4


class Model(NamedTuple):
    """All [k, planes] but the order.

    `order`: (component * planes + plane) * KINDS + kind of each decision in turn, int64. `zero`, `first`: the chance of
    a zero, and of the lower half right behind the leading bit, uint8 as `binary_coder.chance_of` makes it. `rise`:
    where the mean of those lies whose leading bit is the last one known, uint8, in 255ths of the interval.
    """

    order: Array
    zero: Array
    first: Array
    rise: Array


def learn(sizes: Array, reach: Array) -> Model:
    """Of the fit rows' |y| float64 [n, k], below 1, and the r float64 [k] in it.

    Of a component's planes above those of its largest fit row one is asked for: unseen rows may be larger.
    """
    whole = np.minimum(sizes * 2**PLANES, 2**PLANES - 1).astype(np.int32)
    shape = (whole.shape[1], PLANES)
    zero, first, rise = (np.empty(shape, np.uint8) for _ in range(3))
    falls = np.empty((*shape, KINDS))
    for plane in range(PLANES):
        shift, weight = PLANES - 1 - plane, 2.0 ** -(plane + 1)
        now, before = whole >> shift, whole >> (shift + 1)
        zeros, ones = (np.count_nonzero(now == one, axis=0) for one in (0, 1))
        zero[:, plane] = chance_of(zeros, ones)
        behind = np.count_nonzero((before == 1) & (now == 3), axis=0)
        first[:, plane] = chance_of(np.count_nonzero(now == 2, axis=0), behind)
        rises = np.where(now == 1, np.minimum(sizes / weight - 1, 1), 0).sum(axis=0)
        means = (rises + EARLIER * RISE) / (ones + EARLIER)
        rise[:, plane] = np.rint(255 * means)
        share = (ones + 0.5) / (zeros + ones + 1)
        price = share - share * np.log2(share) - (1 - share) * np.log2(1 - share)
        asked = sizes.max(axis=0) >= weight / 2
        falls[:, plane, ZERO] = np.where(asked, share * ((1 + means) * weight / reach) ** 2 / price, np.inf)
        falls[:, plane, NEXT] = (weight / reach) ** 2 / 4
    return Model(_in_turn(falls), zero, first, rise)


def _in_turn(falls: Array) -> Array:
    """Decisions by falling slope; none before those of its component that it rests on."""
    zeros = falls[..., ZERO] = np.minimum.accumulate(falls[..., ZERO], axis=1)
    behind = np.concatenate([np.full((len(falls), 1), np.inf), zeros[:, :-1]], axis=1)
    told = np.where(np.isfinite(behind), np.minimum(falls[..., NEXT], behind), np.inf)
    falls[..., NEXT] = np.minimum.accumulate(told, axis=1)
    planes = np.broadcast_to(np.arange(falls.shape[1])[:, None], falls.shape)
    turn = np.lexsort((planes.ravel(), -falls.ravel()))
    return turn[np.isfinite(falls.ravel()[turn])]


def cut(model: Model, count: int) -> tuple[Model, Array]:
    """The model of the first `count` decisions, and which components int64 it still has: at least one."""
    planes = model.zero.shape[1]
    component, plane, kind = apart(model.order[:count], planes)
    kept = np.unique(component) if count else np.zeros(1, np.int64)
    deep = 1 + int(plane.max(initial=0))
    order = (np.searchsorted(kept, component) * deep + plane) * KINDS + kind
    return Model(order, *(np.ascontiguousarray(table[kept, :deep]) for table in model[1:])), kept


def apart(order: Array, planes: int) -> tuple[Array, Array, Array]:
    """Component, plane and kind of each decision."""
    return order // KINDS // planes, order // KINDS % planes, order % KINDS
