"""Two ways to keep a rate: wait for evenly spaced times, or thin out what comes at times of its own."""

import math
import threading
import time
from collections.abc import Callable

_TICK_S = 0.5
_EARLY = 0.25  # of the period


class RateKeeper:
    """Waits for the next of evenly spaced times. They are counted from the first, so that nothing drifts.

    fps: times per second; None never waits. on_wait: is called twice a second during a wait.
    """

    def __init__(self, fps: float | None, stop: threading.Event, on_wait: Callable[[], None] | None = None) -> None:
        self._on_wait = on_wait
        self._period = 1 / fps if fps else 0.0
        self._next = -math.inf
        self._stop = stop

    def wait(self) -> bool:
        """Wait for the next time, unless it has passed. Returns False when `stop` is set."""
        now = time.monotonic()
        if self._next < now - self._period:
            self._next = now  # the first time, or late by more than one
        while (left := self._next - time.monotonic()) > 0 and not self._stop.wait(min(left, _TICK_S)):
            if self._on_wait is not None:
                self._on_wait()
        self._next += self._period
        return not self._stop.is_set()


class RateLimit:
    """Lets through fps a second, on average, of what comes at times of its own. fps None lets everything through."""

    def __init__(self, fps: float | None) -> None:
        self._period = 1 / fps if fps else 0.0
        self._due = -math.inf

    def allows(self, now: float) -> bool:
        """Whether what comes at `now`, in seconds, is due or nearly so. A camera of the same rate is never exact."""
        if now < self._due - _EARLY * self._period:
            return False
        # The next is due on a grid, unless that time has passed.
        self._due = max(self._due, now - self._period) + self._period
        return True
