"""Decide when k may rise. It waits after every switch, and longer before a k that failed. Falling never waits."""

import math

from hydrart.governor.parameters import Parameters

_LONGEST_FRAME_S = 1.0  # waits are counted in frames; without a rate, or at a lower one, a frame counts as a second


class Switching:
    """Keep which k runs, since when, and which larger ks must wait.

    A climb that is taken back soon has failed. Its k and all larger ones then wait. Each further failure in a row
    doubles the wait.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._p = parameters
        self.current: int | None = None  # the k that runs
        self._climbed_at = self._up_at = -math.inf  # time of the last climb; time from which k may rise
        self._climbed_to = 0
        self._failed: float = math.inf  # the k of the last climb that failed
        self._failed_until = -math.inf
        self._failures_x = 1.0  # the wait as a multiple of the shortest wait

    def ceiling(self, now: float) -> float:
        """The largest k that need not wait; inf if none has to."""
        if self.current is None:
            return math.inf
        if now < self._up_at:
            return self.current
        return max(self.current, self._failed - 1) if now < self._failed_until else math.inf

    def switch(self, now: float, k: int, frame_ms: float) -> None:
        """Note that k runs from now on. frame_ms: the time that a frame has."""
        p, frame_s = self._p, min(frame_ms / 1000, _LONGEST_FRAME_S)
        trial_s, wait_s = p.memory * frame_s, p.patience * frame_s
        if self.current is None or k == self.current:
            self.current = k
            if k >= self._failed and now - self._climbed_at > trial_s:
                self.forgive()  # the climb has held
            return
        if k > self.current:
            self._climbed_at, self._climbed_to = now, k
        else:
            if now - self._climbed_at < trial_s:
                self._failed = self._climbed_to
                self._failures_x = min(2 * self._failures_x, p.horizon_s / wait_s)
            self._failed_until = now + self._failures_x * wait_s
        self._up_at = now + wait_s
        self.current = k

    def forgive(self) -> None:
        """Forget the climbs that failed."""
        self._failed, self._failures_x = math.inf, 1.0
