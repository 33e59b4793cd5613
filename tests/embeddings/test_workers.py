import threading
import time
from concurrent.futures import CancelledError
from contextlib import closing

import pytest

from pipeline.embeddings.workers import as_they_come


def test_all_results_come_and_no_more_than_so_many_are_under_way():
    lock, under_way, most = threading.Lock(), [], []

    def work(item):
        with lock:
            under_way.append(item)
            most.append(len(under_way))
        time.sleep(0.01)
        with lock:
            under_way.remove(item)
        return item * item

    assert sorted(as_they_come(work, range(20), 3, lambda: None)) == sorted(i * i for i in range(20))
    assert max(most) == 3


def test_an_item_is_drawn_only_when_a_worker_is_free():
    drawn = []
    results = as_they_come(lambda item: item, (drawn.append(i) or i for i in range(10)), 2, lambda: None)
    with closing(results):
        next(results)
        assert len(drawn) == 2


def test_a_failure_stops_the_others_and_comes_through_when_they_are_done():
    stop, ended = threading.Event(), []

    def work(item):
        if item == 0:
            raise ValueError("first")
        stop.wait(10)
        ended.append(item)

    with pytest.raises(ValueError, match="first"):
        list(as_they_come(work, range(100), 3, stop.set))
    assert sorted(ended) == [1, 2]


def test_items_that_fail_to_come_stop_the_work_too():
    def items():
        yield 1
        yield 2
        raise ValueError("no more")

    stopped, results = [], []
    with pytest.raises(ValueError, match="no more"):
        results.extend(as_they_come(lambda item: item, items(), 1, lambda: stopped.append(True)))
    assert stopped


def test_what_was_turned_away_gives_way_to_the_failure_that_comes_after():
    begun, stopped = [], threading.Event()

    def work(item):
        begun.append(item)
        if item:
            raise CancelledError
        time.sleep(0.2)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        list(as_they_come(work, range(100), 3, stopped.set))
    assert sorted(begun) == [0, 1, 2]
    with pytest.raises(CancelledError):
        list(as_they_come(work, range(1, 100), 3, stopped.set))
