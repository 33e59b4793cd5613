import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from pipeline.embeddings import backoff

NOW = 1_700_000_000.0


def dated(seconds):
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": dated(20)}, 20),
        ({"retry-after": dated(20).replace("GMT", "-0000")}, 20),
        ({"retry-after": dated(-20)}, 0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_a_reply_asks_for(headers, seconds):
    assert backoff.asked_s(headers, NOW) == seconds


def test_the_wait_doubles_up_to_a_minute_and_is_drawn_from_its_upper_half():
    most = [backoff.delay_s(failures, 1.0) for failures in (1, 2, 3, 4, 20, 5000)]
    assert most == [0.5, 1, 2, 4, 60, 60]
    assert backoff.delay_s(3, 0.0) == 1
    assert backoff.delay_s(3, 0.5) == 1.5


def test_the_wait_is_never_shorter_than_the_server_asks():
    assert backoff.delay_s(1, 0.0, asked_s=7) == 7
    assert backoff.delay_s(8, 0.0, asked_s=1) == 30


def test_a_shut_gate_holds_everybody_and_a_longer_wait_is_kept():
    gate = backoff.Gate()
    gate.shut(0.4)
    gate.shut(0.01)
    start = time.monotonic()
    assert gate.passed()
    assert 0.39 < time.monotonic() - start < 2
    start = time.monotonic()
    assert gate.passed(0.2)
    assert 0.19 < time.monotonic() - start < 2


def test_a_stopped_gate_turns_away_at_once():
    gate = backoff.Gate()
    threading.Timer(0.1, gate.stop).start()
    start = time.monotonic()
    assert not gate.passed(60)
    assert time.monotonic() - start < 5
    assert not gate.passed()


def test_who_holds_the_gate_passes_alone_until_it_is_released():
    gate, passed = backoff.Gate(), []
    assert gate.hold()
    assert gate.hold()
    others = [
        threading.Thread(target=lambda wait=wait: (wait(), passed.append(1), gate.release()))
        for wait in (gate.passed, gate.hold)
    ]
    for other in others:
        other.start()
    time.sleep(0.1)
    assert gate.passed()
    assert not passed
    gate.release()
    gate.release()
    for other in others:
        other.join(5)
    assert len(passed) == 2


def test_who_waits_for_a_held_gate_is_turned_away_when_it_stops():
    gate, found = backoff.Gate(), []
    gate.hold()
    others = [threading.Thread(target=lambda wait=wait: found.append(wait())) for wait in (gate.passed, gate.hold)]
    for other in others:
        other.start()
    gate.stop()
    for other in others:
        other.join(5)
    assert found == [False, False]
