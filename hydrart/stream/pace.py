"""Evenly spaced times."""

import math
import threading
import time
from collections.abc import Callable

_TICK_S = 0.5


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
