"""Evenly spaced times, and no more than so many a second."""

import math
import threading
import time
from collections.abc import Callable

_TICK_S = 0.5
_EARLY = 0.25  # of the period


class RateKeeper:
    """Waits for the next of evenly spaced times, counted from the first, so that nothing drifts.

    on_wait: is called twice a second while it waits.
    """

    def __init__(self, fps: float | None, stop: threading.Event, on_wait: Callable[[], None] = lambda: None) -> None:
        self._on_wait = on_wait
        self._period = 1 / fps if fps else 0.0
        self._next = -math.inf
        self._stop = stop

    def wait(self) -> bool:
        """Wait for the next time, or not at all if it has passed; False when the stream was told to end."""
        now = time.monotonic()
        if self._next < now - self._period:
            self._next = now  # the first time, or late by more than one
        while (left := self._next - time.monotonic()) > 0 and not self._stop.wait(min(left, _TICK_S)):
            self._on_wait()
        self._next += self._period
        return not self._stop.is_set()


class RateLimit:
    """Thins out what comes at times of its own to fps a second on average; None lets everything through."""

    def __init__(self, fps: float | None) -> None:
        self._period = 1 / fps if fps else 0.0
        self._due = -math.inf

    def allows(self, now: float) -> bool:
        """Whether what comes now is due, or nearly so: a camera of the same rate is never quite on time."""
        if now < self._due - _EARLY * self._period:
            return False
        # the next is due on a grid, unless that is in the past already
        self._due = max(self._due, now - self._period) + self._period
        return True
