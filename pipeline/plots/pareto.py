"""The Pareto front of cost against quality: what nothing else beats on one without losing on the other."""

from collections.abc import Sequence


def front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Positions of the points on the front, by rising cost.

    A point is on it if no other point costs at most as much and is at least as good, one of the two strictly. Points
    that tie in both stand together.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i], i))
    kept: list[int] = []
    for i in order:
        last = kept[-1] if kept else None
        tie = last is not None and (costs[i], qualities[i]) == (costs[last], qualities[last])
        if last is None or qualities[i] > qualities[last] or tie:
            kept.append(i)
    return kept
