"""Throughput on one thread: the best of a few timed runs, so that a busy machine spoils as little as possible."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

ENOUGH_S = 0.05
RUNS = 3


def timed(work: Callable[[], Result], items: int) -> tuple[Result, float]:
    """What `work` returns, and items a second, `items` being what one run handles.

    Runs up to RUNS times, or until ENOUGH_S have passed: slow work is done once.
    """
    best, spent = float("inf"), 0.0
    for _ in range(RUNS):
        start = time.perf_counter()
        result = work()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
        if spent > ENOUGH_S:
            break
    return result, items / max(best, 1e-9)
