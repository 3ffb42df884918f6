"""Evenly spaced times."""

import math
import threading
import time


class RateKeeper:
    """Waits for the next of evenly spaced times, counted from the first, so that nothing drifts."""

    def __init__(self, fps: float | None, stop: threading.Event) -> None:
        self._period = 1 / fps if fps else 0.0
        self._next = -math.inf
        self._stop = stop

    def wait(self) -> bool:
        """Wait for the next time, or not at all if it has passed; False when the stream was told to end."""
        now = time.monotonic()
        if self._next < now - self._period:
            self._next = now  # the first time, or late by more than one
        elif self._next > now:
            self._stop.wait(min(self._next - now, threading.TIMEOUT_MAX))
        self._next += self._period
        return not self._stop.is_set()
