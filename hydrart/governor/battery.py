"""What the battery allows: the energy that is left, spread evenly over the time that is left."""

import math
from collections import deque

_RESERVE = 0.005  # of the capacity, kept: gauges are wrong, and lowest when empty
_WINDOW_S = 300.0  # that the draw is measured over
_MIN_S = 60.0  # less tells nothing: gauges move in steps
_MIN_STEP = 0.02  # of the charge that must be gone before a capacity is learnt from it
_OTHERS_S = 300.0  # time constant of what others draw: a peak of theirs is no reason to change k
_GAIN = 0.03  # share of the difference between gauge and count that a reading corrects
_WRONG = 0.2  # difference, of the capacity, from which a reading is doubted
_DOUBTS = 10  # of these in a row; then the gauge is right
_PACE_S = 60.0  # within which what was saved is spent again: two ks in turn then meet the goal between them


class BatteryBudget:
    """Counts what the device draws, is put right by the gauge, and says how much power the goal allows.

    until_s: the time, on the clock that `now` is of, that the battery must last to; capacity_wh: None if unknown:
    then it is learnt from how fast the charge falls.
    """

    def __init__(self, until_s: float, capacity_wh: float | None) -> None:
        self.until_s = until_s
        self.capacity_wh = capacity_wh
        self._left: float | None = None  # share of the capacity
        self._doubted = 0
        self._other_w = 0.0  # drawn by others, or missing from the power table
        self._spent_j = 0.0  # by our own account
        self._history: deque[tuple[float, float, float]] = deque()  # time, share left by the gauge, spent
        self._charging = False
        self._saved_j = 0.0

    @property
    def left(self) -> float | None:
        """The share that is left, 0 to 1; None while unknown."""
        return self._left

    def update(
        self, now: float, dt: float, own_w: float, power_w: float | None, share: float | None, charging: bool
    ) -> None:
        """dt seconds went by, in which hydrart and the idle device drew own_w by the table, the whole device power_w
        by a sensor; share is a new reading of the charge, 0 to 1."""
        self._spent_j += own_w * dt
        self._charging = charging
        if power_w is not None:
            self._other_w += (power_w - own_w - self._other_w) * -math.expm1(-dt / _OTHERS_S)
        if charging:
            self._history.clear()
            if share is not None:
                self._left = share
            return
        if self._left is not None and self.capacity_wh:
            even_w = self._even_w(now)
            self._saved_j += (even_w - own_w) * dt
            self._saved_j = min(max(self._saved_j, -even_w * _PACE_S), even_w * _PACE_S)
            self._left = max(0.0, self._left - max(own_w + self._other_w, 0.0) * dt / 3600 / self.capacity_wh)
        if share is None:
            return
        if self._left is None or self.capacity_wh is None:
            self._left = share
        elif abs(share - self._left) > _WRONG and self._doubted < _DOUBTS:
            self._doubted += 1
            return
        elif abs(share - self._left) > _WRONG:
            self._left = share
        else:
            self._left += _GAIN * (share - self._left)
        self._doubted = 0
        self._history.append((now, share, self._spent_j))
        while now - self._history[0][0] > _WINDOW_S and self.capacity_wh is not None:
            self._history.popleft()
        self._learn(measured=power_w is not None)

    def allowed(self, now: float) -> float:
        """The power that hydrart and the idle device may draw together; inf where nothing limits it."""
        if self._left is None or self.capacity_wh is None or self._charging or now >= self.until_s:
            return math.inf
        return self._even_w(now) + self._saved_j / _PACE_S

    def _even_w(self, now: float) -> float:
        """What is left, evenly over the time that is left, without what others draw."""
        left_j = max((self._left or 0.0) - _RESERVE, 0.0) * (self.capacity_wh or 0.0) * 3600
        return left_j / max(self.until_s - now, 1.0) - self._other_w

    def _learn(self, measured: bool) -> None:
        """From the fall of the gauge: the capacity if it is unknown, else what others draw unless a sensor says so."""
        (start, before, spent), (end, after, total) = self._history[0], self._history[-1]
        if self.capacity_wh is None:
            if before - after >= _MIN_STEP:
                self.capacity_wh = (total - spent) / 3600 / (before - after)
        elif not measured and end - start >= _MIN_S and before - after >= _MIN_STEP:
            other = ((before - after) * self.capacity_wh * 3600 - (total - spent)) / (end - start)
            self._other_w += 0.05 * (other - self._other_w)
