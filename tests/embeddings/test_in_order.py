import threading
import time

import pytest

from pipeline.embeddings.in_order import in_order


def test_results_come_in_order_though_later_work_is_done_first():
    def work(seconds):
        time.sleep(seconds)
        return seconds

    assert list(in_order(work, [0.05, 0, 0.03, 0], 2)) == [0.05, 0, 0.03, 0]


def test_work_runs_side_by_side():
    both = threading.Barrier(2, timeout=5)
    assert len(list(in_order(lambda _: both.wait(), range(2), 2))) == 2


def test_no_more_than_one_item_beside_those_under_way_is_drawn():
    drawn = []
    results = in_order(lambda item: item, (drawn.append(i) or i for i in range(99)), 2)
    assert next(results) == 0
    assert len(drawn) == 3
    results.close()


def test_what_the_items_raise_comes_behind_the_results_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("no third")

    found = []
    with pytest.raises(ValueError, match="no third"):
        found.extend(in_order(lambda item: 10 * item, items(), 3))
    results = in_order(lambda item: 10 * item, items(), 3)
    assert [next(results), next(results)] == [10, 20]
    with pytest.raises(ValueError, match="no third"):
        next(results)


def test_what_work_raises_is_raised_and_little_more_is_begun():
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ValueError("bad")
        return item

    results = in_order(work, range(50), 1)
    assert next(results) == 0
    with pytest.raises(ValueError, match="bad"):
        list(results)
    assert len(begun) < 5
