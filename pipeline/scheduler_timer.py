"""One timer, and not one more for each job that ends, after which Snakemake's scheduler looks at its jobs again.

Snakemake's scheduler (9.27) looks at its jobs when one ends, and each time it has looked it sets a timer to look again
a second later. So each job that ends starts one more chain of timers that never stops: after a hundred jobs it looks a
hundred times a second, which takes a whole core from the jobs.
"""

import threading
from collections.abc import Callable


def one_timer(look: Callable[[], object]) -> Callable[[float], None]:
    """A function of a delay in seconds that has `look` called after it, and does nothing while such a call is due.

    A shorter delay than that of the call which is due changes nothing.
    """
    due = threading.Lock()

    def call() -> None:
        due.release()  # first, so that what `look` wakes may set the next timer
        look()

    def later(delay: float) -> None:
        if due.acquire(blocking=False):
            timer = threading.Timer(delay, call)
            timer.daemon = True  # the process may end before
            timer.start()

    return later


def use_one_timer(scheduler: object) -> bool:
    """Give Snakemake's JobScheduler a single timer; False if it is not built as that of 9.27 is, and is left alone."""
    if not all(hasattr(scheduler, name) for name in ("_schedule_reevalutation", "_open_jobs")):
        return False
    scheduler._schedule_reevalutation = one_timer(scheduler._open_jobs.release)  # type: ignore[attr-defined]
    return True
