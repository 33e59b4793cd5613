"""The same work on many shards, side by side: in threads where the work leaves Python's lock, else in processes.

Processes are spawned, not forked: the parent has threads (progress bar, Arrow, Rust), and a fork would copy their locks
in whatever state they are. A worker process that dies (killed, out of memory) ends the run at once with one line, and
worker processes whose parent dies end too.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import pyarrow as pa

from pipeline import stage
from pipeline.stage import UserError

Result = TypeVar("Result")


def in_threads(
    function: Callable[..., Result], jobs: Sequence[Sequence[Any]], workers: int, what: str
) -> Iterator[Result]:
    """Yield `function(*job)` for each job from `workers` threads, as they are done and in no certain order.

    Raises what `function` raises, and UserError for less than one worker.
    """
    with ThreadPoolExecutor(_at_most(workers, jobs)) as pool:
        yield from _results(pool, function, jobs, what)


def in_processes(
    function: Callable[..., Result], jobs: Sequence[Sequence[Any]], workers: int, what: str
) -> Iterator[Result]:
    """Yield `function(*job)` for each job from `workers` processes, as they are done and in no certain order.

    `function` must be a module's own, and results must be picklable. Raises what `function` raises, and UserError if
    a worker process dies and for less than one worker.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_at_most(workers, jobs), context, _begin_worker) as pool:
        try:
            yield from _results(pool, function, jobs, what)
        except BrokenProcessPool:
            raise UserError(f"{what}: a worker process died (killed, or out of memory); try fewer --workers") from None


def _at_most(workers: int, jobs: Sequence[Sequence[Any]]) -> int:
    if workers < 1:
        raise UserError(f"workers: at least 1 is needed, not {workers}")
    return min(workers, len(jobs))


def _results(
    pool: Executor, function: Callable[..., Result], jobs: Sequence[Sequence[Any]], what: str
) -> Iterator[Result]:
    try:
        futures = (pool.submit(function, *job) for job in jobs)
        for done in stage.progress(as_completed(futures), what, len(jobs), " shards"):
            yield done.result()
    finally:  # after an error, what has not begun is not begun
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Keep to one thread, and end when the parent does: else a killed run would leave idle workers behind for ever."""
    pa.set_cpu_count(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
