import pytest

from pipeline.evaluation import speed


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(speed.time, "perf_counter", found)
    return found


def run(clock, seconds):
    left = list(seconds)

    def work():
        clock.now += left.pop(0)
        return len(seconds) - len(left)

    return *speed.timed(work, 10), len(seconds) - len(left)


def test_the_best_of_three_quick_runs(clock):
    _, rate, runs = run(clock, [0.010, 0.005, 0.020, 0.001])
    assert runs == 3
    assert rate == pytest.approx(10 / 0.005)


def test_slow_work_is_done_once(clock):
    result, rate, runs = run(clock, [2.0, 1.0, 1.0])
    assert (result, runs) == (1, 1)
    assert rate == pytest.approx(5)


def test_a_clock_that_stands_still_is_no_division_by_zero(clock):
    assert run(clock, [0, 0, 0])[1] > 0
