"""Keep a rate: wait for evenly spaced times, or drop items that come too early."""

import math
import threading
import time
from collections.abc import Callable

_TICK_S = 0.5
_EARLY = 0.25  # share of the period


class RateKeeper:
    """Wait for evenly spaced times. They count from the first time, so that they do not drift.

    fps: times per second; None never waits. on_wait: called twice a second during a wait.
    """

    def __init__(self, fps: float | None, stop: threading.Event, on_wait: Callable[[], None] | None = None) -> None:
        self._on_wait = on_wait
        self._period = 1 / fps if fps else 0.0
        self._next = -math.inf
        self._stop = stop

    def wait(self) -> bool:
        """Wait for the next time, unless it has passed. Returns False if `stop` is set."""
        now = time.monotonic()
        if self._next < now - self._period:
            self._next = now  # the first time, or a delay of more than one period
        while (left := self._next - time.monotonic()) > 0 and not self._stop.wait(min(left, _TICK_S)):
            if self._on_wait is not None:
                self._on_wait()
        self._next += self._period
        return not self._stop.is_set()


class RateLimit:
    """Let at most fps items per second through, on average. fps None lets all through."""

    def __init__(self, fps: float | None) -> None:
        self._period = 1 / fps if fps else 0.0
        self._due = -math.inf

    def allows(self, now: float) -> bool:
        """Whether an item at `now`, in seconds, is due or nearly due. A camera of the same rate is never exact."""
        if now < self._due - _EARLY * self._period:
            return False
        # The next item is due on a grid, unless that time has passed.
        self._due = max(self._due, now - self._period) + self._period
        return True
