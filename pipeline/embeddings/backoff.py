"""When a request that failed may be tried again.

The wait doubles with each failure in a row, up to a minute, and is drawn from its upper half, so that clients that
failed together do not come back together. Where the server says how long to wait, it is never less than that.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FIRST_S = 0.5
MOST_S = 60.0


def delay_s(failures: int, draw: float, asked_s: float | None = None) -> float:
    """Seconds to wait after `failures` (from 1) in a row, for a `draw` in [0, 1); at least what the server asked."""
    most = min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    return max(most * (1 + draw) / 2, asked_s or 0.0)


def asked_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a reply asks to wait, never negative: `retry-after-ms`, or `retry-after` in seconds or as a date.

    `headers` have lower-case names or ignore case; `now` is the Unix time. None where nothing usable is said.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": UTC without a claim to a place
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)


class Gate:
    """What all workers pass before a request: shut for a while after a rate limit, held by one of them while it finds
    out whether the others' requests make sense, and shut for good after `stop`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._opens = -math.inf
        self._stopped = False
        self._holder: int | None = None  # a thread

    def shut(self, seconds: float) -> None:
        """Nobody passes for so many seconds from now. A longer wait that is under way is kept."""
        with self._changed:
            self._opens = max(self._opens, self._clock() + seconds)

    def stop(self) -> None:
        """Whoever waits, and whoever comes, is turned away."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def hold(self) -> bool:
        """From now on this thread alone passes, until it calls `release`. Waits while another holds the gate.

        False if the gate is stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._mine())
            if not self._stopped:
                self._holder = threading.get_ident()
            return not self._stopped

    def release(self) -> None:
        """The others pass again, if it was this thread that held the gate."""
        with self._changed:
            if self._holder == threading.get_ident():
                self._holder = None
                self._changed.notify_all()

    def passed(self, seconds: float = 0.0) -> bool:
        """Wait for so many seconds, and until the gate is open. False if it is stopped, at once."""
        mine = self._clock() + seconds
        with self._changed:
            while not self._stopped:
                left = max(mine, self._opens) - self._clock()
                if left <= 0 and self._mine():
                    return True
                self._changed.wait(left if left > 0 else None)
        return False

    def _mine(self) -> bool:
        return self._holder in (None, threading.get_ident())
