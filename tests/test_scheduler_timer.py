"""One timer at a time, and Snakemake's scheduler with it."""

import threading
import time
from types import SimpleNamespace

import pytest

from pipeline import scheduler_timer


def test_many_calls_within_a_delay_look_once() -> None:
    looks: list[float] = []
    later = scheduler_timer.one_timer(lambda: looks.append(time.monotonic()))
    start = time.monotonic()
    for _ in range(50):
        later(0.2)
    time.sleep(0.6)
    assert len(looks) == 1
    assert looks[0] - start >= 0.2


def test_each_look_may_set_the_next() -> None:
    third = threading.Event()
    looks = []

    def look() -> None:
        looks.append(None)
        third.set() if len(looks) == 3 else later(0.01)

    later = scheduler_timer.one_timer(look)
    later(0.01)
    assert third.wait(10)


def test_ends_that_come_meanwhile_start_no_chains_of_their_own() -> None:
    """As the scheduler does: it looks when a job ends, and each time it has looked it asks to look again."""
    released = threading.Semaphore(0)
    scheduler = SimpleNamespace(_open_jobs=released, _schedule_reevalutation=None)
    assert scheduler_timer.use_one_timer(scheduler)
    passes, stop = 0, time.monotonic() + 1.0
    for _ in range(20):
        released.release()
    while time.monotonic() < stop:
        if released.acquire(timeout=0.05):
            passes += 1
            scheduler._schedule_reevalutation(0.2)
    assert 20 + 2 <= passes <= 20 + 5


def test_the_installed_snakemake_is_built_so() -> None:
    module = pytest.importorskip("snakemake.scheduling.job_scheduler")
    assert callable(module.JobScheduler._schedule_reevalutation)
    assert "_open_jobs" in module.JobScheduler.__init__.__code__.co_names


def test_another_scheduler_is_left_alone() -> None:
    other = SimpleNamespace()
    assert not scheduler_timer.use_one_timer(other)
    assert vars(other) == {}
