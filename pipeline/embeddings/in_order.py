"""Work in threads, results in the items' order, a bounded number under way."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result, None, None]:
    """Results of `work` in `workers` threads, in the order of `items`, which are drawn by the caller's thread.

    One item more than there are workers is drawn ahead, so that none of them waits for it. What the items raise is
    raised behind the results of the items before, as if nothing ran ahead. When the caller leaves, or work raises, what
    is under way ends first.
    """
    waiting = iter(items)
    under_way: deque[Future[Result]] = deque()
    fault: Exception | None = None
    drained = False
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while not drained and len(under_way) <= workers:
                try:
                    under_way.append(pool.submit(work, next(waiting)))
                except StopIteration:
                    drained = True
                except Exception as error:
                    fault, drained = error, True
            if not under_way:
                break
            yield under_way.popleft().result()
    if fault is not None:
        raise fault
