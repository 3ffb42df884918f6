"""Governor: the largest k whose recent latency fits the time that a frame has.

It is pure: the clock is passed in, nothing is read or written, equal observations give equal decisions.
"""

import math
from collections import deque
from dataclasses import dataclass

from hydrart.errors import SettingError
from hydrart.governor.profile import Profile

_WINDOW = 20  # frames that the slow-down is estimated from
_MAX_AGE_S = 5.0  # older ones tell nothing of now
_FIT = 0.9  # share of the deadline that the expected latency may take
_FIT_UP = 0.8  # the same for a larger k than the present one
_DWELL = 10  # frames between a switch and the next switch upwards


@dataclass(frozen=True)
class Decision:
    """What to run next.

    k; reason: fixed, largest (nothing forbids it), deadline (a larger k would be late), overload (even the
    smallest is late), unknown (nothing was observed yet); expected_ms: the latency to expect, None if unknown.
    """

    k: int
    reason: str
    expected_ms: float | None


class Governor:
    """Chooses k for every frame.

    fps: the deadline of each frame is 1 / fps seconds (None: there is none, the largest k runs). k fixes it;
    min_k, max_k bound it. Raises SettingError.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        fps: float | None = None,
        k: int | None = None,
        min_k: int | None = None,
        max_k: int | None = None,
    ) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise SettingError(f"fps={fps} is no rate: pass a positive number of frames per second")
        self._fixed = k is not None
        self._rows = profile.between(k if self._fixed else min_k, k if self._fixed else max_k)
        self.deadline_ms = 1000 / fps if fps else math.inf
        self._work = {row.k: row.work for row in profile.rows}
        self._base = {row.k: row.latency_ms for row in profile.rows if row.latency_ms is not None}
        self._slowdowns: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._current: int | None = None
        self._since_switch = 0

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        """Tell what a frame took. now: seconds on the clock that choose() is given."""
        if not (math.isfinite(latency_ms) and latency_ms > 0):
            return
        # the fastest run is the nearest to an idle machine's
        self._base[k] = min(latency_ms, self._base.get(k, math.inf))
        self._slowdowns.append((now, latency_ms / self._base[k]))

    def choose(self, now: float) -> Decision:
        """The k of the next frame. now: seconds on a monotonic clock."""
        rows, current = self._rows, self._current
        smallest, largest = rows[0].k, rows[-1].k
        if self._fixed:
            return Decision(smallest, "fixed", self._expected_ms(smallest, now))
        if math.isinf(self.deadline_ms):
            return Decision(largest, "largest", self._expected_ms(largest, now))
        if not self._base:
            return Decision(smallest, "unknown", None)
        self._since_switch += 1
        best = None
        for row in rows:
            expected = self._expected_ms(row.k, now)
            larger = current is not None and row.k > current
            if larger and self._since_switch <= _DWELL:
                break
            if expected is not None and expected <= self.deadline_ms * (_FIT_UP if larger else _FIT):
                best = row.k
        k = smallest if best is None else best
        if k != current:
            self._current, self._since_switch = k, 0
        reason = "overload" if best is None else "largest" if k == largest else "deadline"
        return Decision(k, reason, self._expected_ms(k, now))

    def _expected_ms(self, k: int, now: float) -> float | None:
        idle = self._idle_ms(k)
        recent = sorted(s for at, s in self._slowdowns if now - at <= _MAX_AGE_S)
        slowdown = recent[int(0.9 * (len(recent) - 1))] if recent else 1.0
        return None if idle is None else idle * slowdown

    def _idle_ms(self, k: int) -> float | None:
        """The latency on an idle machine: the fastest seen, else scaled by the work from the nearest k seen."""
        if k in self._base or not self._base:
            return self._base.get(k)
        nearest = min(self._base, key=lambda other: abs(other - k))
        return self._base[nearest] * self._work[k] / self._work[nearest]
