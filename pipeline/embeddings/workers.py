"""Work in threads, a bounded number at a time."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_they_come(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, stop: Callable[[], None]
) -> Generator[Result, None, None]:
    """Results of `work` in threads, as they are done, never more than `workers` under way.

    An item is drawn when a worker is free. When the caller leaves, or something raises, `stop` is called and the work
    under way ends before the exception goes on. A CancelledError says that other work has failed, and gives way to what
    that work raises.
    """
    waiting = iter(items)
    cancelled: Future[Result] | None = None
    with ThreadPoolExecutor(workers) as pool:
        try:
            under_way = {pool.submit(work, item) for item in islice(waiting, workers)}
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    if isinstance(future.exception(), CancelledError):
                        cancelled = future
                        continue
                    yield future.result()
                    if cancelled is None:
                        under_way |= {pool.submit(work, item) for item in islice(waiting, 1)}
            if cancelled is not None:
                cancelled.result()
        finally:
            stop()
