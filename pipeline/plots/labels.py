"""Place the labels of a scatter plot: none on another, none on a point, each near its own and joined to it by a line.

Problem: the points of a Pareto front stand close together, and their names are long. Method: each label has a few
hundred candidate places around its point, nearer ones cheaper; those on an obstacle, on another label or outside the
panel are out, those that cross a curve or whose line to the point crosses something cost more. Labels choose in turn
and then again a few times, knowing all others' places; of three orders (most constrained first, from the left, from the
right) the cheapest outcome is taken. Lengths are in points (1/72 inch).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Array = np.ndarray

ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False) + np.pi / 2  # the first is straight above
DISTANCES = np.concatenate([np.arange(6, 30, 3), np.arange(30, 200, 8)])
MARGIN = 1.5  # free space around a label
STEP = 4.0  # curves count as a point each so many points of length
ROUNDS = 4
OPTIONS = 400  # places of a label that are weighed against the other labels'
ASTRAY = 12.0  # cost of a place that is nearer to another labelled point, in points of distance
CROSSED_CURVE, CROSSED_POINT, CROSSED_LABEL = 4.0, 40.0, 60.0  # likewise
NO_LABEL = 2000.0  # likewise


def overlapping(boxes: Array, others: Array, margin: float = 0.0) -> Array:
    """Which of `boxes` [a, 4] (left, bottom, right, top) overlap which of `others` [b, 4]: bool [a, b]."""
    one, other = boxes[:, None], others[None]
    touching: Array = (
        (one[..., 0] < other[..., 2] + margin)
        & (other[..., 0] < one[..., 2] + margin)
        & (one[..., 1] < other[..., 3] + margin)
        & (other[..., 1] < one[..., 3] + margin)
    )
    return touching


def sampled(path: Array) -> Array:
    """Points along a line through the corners `path` [n, 2], one each STEP of length: [m, 2]."""
    pieces = [path[:1]]
    for start, end in pairwise(path):
        count = max(1, int(np.hypot(*(end - start)) / STEP))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)


def nearest(boxes: Array, point: Array) -> Array:
    """The place in each of `boxes` [..., 4] that is nearest to `point`: [..., 2]. There the line to it ends."""
    return np.clip(point, boxes[..., :2], boxes[..., 2:])


def _inside(dots: Array, boxes: Array) -> Array:
    """Which of `dots` [d, 2] lie in which of `boxes` [b, 4]: bool [d, b]."""
    x, y = dots[:, :1], dots[:, 1:]
    left, bottom, right, top = boxes.T
    held: Array = (x > left) & (x < right) & (y > bottom) & (y < top)
    return held


def _leaders(boxes: Array, anchor: Array) -> Array:
    """Twelve dots along each box's line to its anchor, both ends left out: [boxes, 12, 2]."""
    along = (np.arange(1, 13) / 13)[None, :, None]
    return anchor + along * (nearest(boxes, anchor)[:, None] - anchor)


def _passed(lines: Array, boxes: Array) -> Array:
    """How many of `boxes` [b, 4] each of `lines` [n, dots, 2] passes through: int [n]."""
    held = _inside(lines.reshape(-1, 2), boxes).reshape(*lines.shape[:2], len(boxes))
    count: Array = held.any(axis=1).sum(axis=1)
    return count


def candidates(anchor: Array, size: Array) -> Array:
    """Boxes of `size` (width, height) around a point, its near side first at each angle: [c, 4]."""
    direction = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    side = np.clip(1.4 * direction, -1, 1) * size / 2  # the box stands beyond its near side or corner
    centre = anchor + (DISTANCES[:, None, None] * direction + side).reshape(-1, 2)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def place(anchors: Array, sizes: Array, obstacles: Array, curves: Sequence[Array], bounds: Array) -> list[Array | None]:
    """A box (left, bottom, right, top) for each label, or None where there is no room for it.

    `anchors` [n, 2]: the labelled points; `sizes` [n, 2]: width and height of each label; `obstacles` [m, 4]: boxes
    that stay free, the markers of all points; `curves`: lines [k, 2] that are better not covered; `bounds` [4]: the
    panel.
    """
    dots = np.concatenate([np.empty((0, 2)), *map(sampled, curves)])
    options, prices = [], []
    for anchor, size in zip(anchors, sizes, strict=True):
        boxes = candidates(anchor, size)
        free = (boxes[:, :2] >= bounds[:2]).all(axis=1) & (boxes[:, 2:] <= bounds[2:]).all(axis=1)
        free &= ~overlapping(boxes, obstacles, MARGIN).any(axis=1)
        boxes = boxes[free]
        distance = np.hypot(*(nearest(boxes, anchor) - anchor).T)
        leaders = _leaders(boxes, anchor)
        others = obstacles[~_inside(anchor[None], obstacles)[0]]
        hit = _passed(leaders, others)
        covered = _inside(dots, boxes + MARGIN * np.array([-1, -1, 1, 1])).sum(axis=0)
        strangers = anchors[(anchors != anchor).any(axis=1)]
        gaps = np.hypot(*(np.moveaxis(nearest(boxes[:, None], strangers), 2, 0) - strangers.T[:, None]))
        astray = (gaps < distance[:, None] + 1).any(axis=1)
        price = distance + CROSSED_CURVE * covered + CROSSED_POINT * hit + ASTRAY * astray
        keep = np.argsort(price, kind="stable")[:OPTIONS]
        options.append(boxes[keep])
        prices.append(price[keep])
    each = range(len(options))
    orders = [
        sorted(each, key=lambda i: len(options[i])),
        sorted(each, key=lambda i: anchors[i, 0]),
        sorted(each, key=lambda i: -anchors[i, 0]),
    ]
    return min((_settle(order, anchors, options, prices) for order in orders), key=lambda found: found[1])[0]


def _settle(
    order: Sequence[int], anchors: Array, options: Sequence[Array], prices: Sequence[Array]
) -> tuple[list[Array | None], float]:
    """Let the labels choose in this order, ROUNDS times: their boxes, and what these cost together."""
    chosen: list[Array | None] = [None] * len(options)
    cost = [0.0] * len(options)
    for _ in range(ROUNDS):
        for i in order:
            chosen[i], cost[i] = _choose(i, anchors, options[i], prices[i], chosen)
    return chosen, sum(cost)


def _choose(
    i: int, anchors: Array, boxes: Array, price: Array, chosen: Sequence[Array | None]
) -> tuple[Array | None, float]:
    """The cheapest of label i's boxes, given where the others are, and its price."""
    placed = [(anchors[j], box) for j, box in enumerate(chosen) if j != i and box is not None]
    if placed and len(boxes):
        others = np.stack([box for _, box in placed])
        apart = ~overlapping(boxes, others, MARGIN).any(axis=1)
        boxes, price = boxes[apart], price[apart]
        lines = np.concatenate([_leaders(box[None], anchor)[0] for anchor, box in placed])
        crossings = _inside(lines, boxes).sum(axis=0)  # another label's line runs through this box
        mine = _leaders(boxes, anchors[i])
        crossings += _passed(mine, others)
        price = price + CROSSED_LABEL * crossings + CROSSED_POINT * _crossed_lines(mine, placed)
    if not len(boxes):
        return None, NO_LABEL
    cheapest = int(np.argmin(price))
    return boxes[cheapest], float(price[cheapest])


def _crossed_lines(mine: Array, placed: Sequence[tuple[Array, Array]]) -> Array:
    """How many of the other labels' lines each candidate's own line crosses: int [boxes]."""
    start, end = mine[:, 0], mine[:, -1]
    count = np.zeros(len(mine), int)
    for anchor, box in placed:
        a, b = anchor, nearest(box, anchor)

        def side(p: Array, q: Array, r: Array) -> Array:
            return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

        count += (side(start, end, a) * side(start, end, b) < 0) & (side(a, b, start) * side(a, b, end) < 0)
    return count
