"""The power that the battery allows: the energy left, spread evenly over the time left."""

import math
from collections import deque

from hydrart.governor.parameters import Parameters

_STEP = 0.01  # Linux' gauges count whole percents
RESERVE = _STEP / 2  # what a gauge that shows 0 may be off by
_FALL = 2 * _STEP  # a fall of one step may be a step's beginning and end


class BatteryBudget:
    """Count the energy that the device draws, correct the count by the gauge, and say how much power is allowed.

    - until_s: when the goal ends, in seconds on the clock of `now`.
    - capacity_wh: energy of the full battery, in watt-hours; None: it is learnt from how fast the charge falls.
    """

    def __init__(self, until_s: float, capacity_wh: float | None, parameters: Parameters) -> None:
        self.until_s = until_s
        self.capacity_wh = capacity_wh
        self._p = parameters
        self._left: float | None = None  # charge, 0 to 1
        self._doubted = 0  # doubted readings in a row
        self._other_w = 0.0  # power of everything else, and what the power table misses
        self._spent_j = 0.0  # energy by our own count
        self._history: deque[tuple[float, float, float]] = deque()  # time, charge by the gauge, joules spent
        self._charging = False
        self._saved_j = 0.0  # energy that was allowed but not spent; negative: spent too early

    @property
    def left(self) -> float | None:
        """The charge, 0 to 1; None while it is unknown."""
        return self._left

    def update(
        self, now: float, dt: float, own_w: float, power_w: float | None, share: float | None, charging: bool
    ) -> None:
        """Account for the last dt seconds.

        - own_w: power of hydrart and the idle device by the power table, in watts.
        - power_w: power of the whole device by a sensor, in watts; None without a reading.
        - share: a new reading of the charge, 0 to 1; None without one.
        - charging: whether a supply charges the battery.
        """
        p = self._p
        self._spent_j += own_w * dt
        self._charging = charging
        if power_w is not None:
            self._other_w += (power_w - own_w - self._other_w) * -math.expm1(-dt / p.forget_s)
        if charging:
            self._history.clear()
            if share is not None:
                self._left = share
            return
        if self._left is not None and self.capacity_wh:
            even_w = self._even_w(now)
            self._saved_j += (even_w - own_w) * dt
            self._saved_j = min(max(self._saved_j, -even_w * p.forget_s), even_w * p.forget_s)
            self._left = max(0.0, self._left - max(own_w + self._other_w, 0.0) * dt / 3600 / self.capacity_wh)
        if share is None:
            return
        if self._left is None or self.capacity_wh is None:
            self._left = share
        elif abs(share - self._left) <= p.memory * _STEP:  # the mean moves by a step at most
            self._left += (share - self._left) / p.memory
        elif self._doubted < p.memory:
            self._doubted += 1
            return
        else:
            self._left = share
        self._doubted = 0
        self._history.append((now, share, self._spent_j))
        while self.capacity_wh is not None and len(self._history) > 1 and self._history[1][1] - share >= _FALL:
            self._history.popleft()  # the shortest time in which the charge fell that far says what others draw now
        self._learn(measured=power_w is not None)

    def allowed(self, now: float) -> float:
        """The power that hydrart and the idle device may draw together, in watts; inf without a limit."""
        if self._left is None or self.capacity_wh is None or self._charging or now >= self.until_s:
            return math.inf
        return self._even_w(now) + self._saved_j / self._p.forget_s

    def _even_w(self, now: float) -> float:
        """The power that spends the energy left evenly over the time left, less what others draw, in watts."""
        left_j = max((self._left or 0.0) - RESERVE, 0.0) * (self.capacity_wh or 0.0) * 3600
        return left_j / max(self.until_s - now, 1.0) - self._other_w  # at least a second: it is never 0

    def _learn(self, measured: bool) -> None:
        """Learn from the fall of the gauge: the capacity, or, if that is known, the power of others.

        measured: whether a sensor gives the power of others.
        """
        p = self._p
        (start, before, spent), (end, after, total) = self._history[0], self._history[-1]
        if self.capacity_wh is None:
            if before - after >= _FALL:
                self.capacity_wh = (total - spent) / 3600 / (before - after)
        elif not measured and end - start >= p.forget_s and before - after >= _FALL:
            other = ((before - after) * self.capacity_wh * 3600 - (total - spent)) / (end - start)
            self._other_w += (other - self._other_w) / p.memory
