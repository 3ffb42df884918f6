"""How warm it will get: a thermal model that is identified while the device runs.

T = b + x_1 + x_2 + ..., where x_i follows r_i * P with the time constant tau_i. A Kalman filter estimates b (which
drifts: the sun, the case) and every r_i from temperatures and powers; the lags themselves are known from the powers.
From that comes the largest constant power that stays below the target over the horizon. Until the filter is sure,
a rule like Linux' power_allocator steers instead (drivers/thermal/gov_power_allocator.c).
"""

import math
from collections import deque
from collections.abc import Sequence
from operator import mul
from statistics import median

from hydrart.governor.points import Stage, Thermal

_STAGES = (Stage(3.0, 5.0), Stage(4.0, 60.0), Stage(5.0, 400.0))  # orders of magnitude of boards without a profile
_HORIZONS = (3.0, 8.0, 20.0)  # seconds ahead at which the target must hold
_PRIOR_STD = 0.3  # of r_i, relative, with a profile
_VAGUE_STD = 1.0  # without
_DRIFT = 0.15  # kelvin per sqrt(second) that b wanders
_TREND_S = 15.0  # over which the drift of b is averaged, and
_TREND_AHEAD_S = 10.0  # for which it is taken to go on
_NOISE = 0.5  # kelvin, of a reading at first
_GATE = 5.0  # kelvin, at least, by which a reading must be off to be doubted
_DOUBTS = 15  # readings in a row that are doubted; then they are right, and the model is not
_DOUBTS_WARMER = 5  # where they are warmer: to err costs less on this side
_SURE_AFTER = 60  # readings
_SURE_STD = 1.0  # kelvin: error of the predictions below which the model is trusted
_ON = 10.0  # kelvin below the target at which the rule starts to steer


class ThermalModel:
    """Told of power and temperature about once a second; says how much power the target allows.

    powers are in watts, or in any other unit that grows with the heat, as long as it is the same throughout.
    """

    def __init__(self, target_c: float, known: Thermal | None) -> None:
        self.target_c = target_c
        stages = known.stages if known else _STAGES
        std = _PRIOR_STD if known else _VAGUE_STD
        self._taus = [stage.tau_s for stage in stages]
        # for each horizon: how long b drifts on, and what is left of each lag
        self._ahead = [(min(s, _TREND_AHEAD_S), [math.exp(-s / tau) for tau in self._taus]) for s in _HORIZONS]
        self._state = [known.ambient_c if known else 25.0, *(stage.r_c_per_w for stage in stages)]
        self._profiled = known is not None
        n = len(self._state)
        self._cov = [[0.0] * n for _ in range(n)]
        self._cov[0][0] = 15.0**2
        for i in range(1, n):
            self._cov[i][i] = (std * self._state[i]) ** 2
        self._lags = [0.0] * len(stages)  # of the power: T = b + sum(r_i * lag_i)
        self._raw: deque[float] = deque(maxlen=3)
        self._settled = False
        self._readings = 0
        self._doubted = 0
        self._error2 = _NOISE**2
        self._age = 0.0
        self._integral = 0.0
        self._mean_power = 0.0
        self._trend = 0.0  # of b, kelvin per second

    @property
    def temp_c(self) -> float | None:
        """The temperature as it is taken to be; None before two readings agreed."""
        return self._predicted() if self._settled else None

    @property
    def sure(self) -> bool:
        """Whether the model is identified well enough to steer by."""
        return self._readings >= (_SURE_AFTER // 6 if self._profiled else _SURE_AFTER) and self._error2 < _SURE_STD**2

    def update(self, dt: float, power: float, temp_c: float | None) -> None:
        """dt seconds went by with that mean power; temp_c is a new reading, None if there is none."""
        if temp_c is not None:
            self._raw.append(temp_c)
            self._settle(power)
        for i, tau in enumerate(self._taus):
            self._lags[i] += (power - self._lags[i]) * -math.expm1(-dt / tau)
        self._mean_power += (power - self._mean_power) * -math.expm1(-dt / 30.0)
        self._cov[0][0] += _DRIFT**2 * dt
        self._age += dt
        if temp_c is None or not self._settled:
            return
        reading = median(self._raw)
        error = reading - self._predicted()
        if abs(error) > max(_GATE, 4 * math.sqrt(self._error2)) and self._readings:
            self._doubted += 1
            if self._doubted < (_DOUBTS_WARMER if error > 0 else _DOUBTS):
                return
            self._state[0] += error
            self._cov[0][0] += error**2
            self._error2 = max(self._error2, 4 * _SURE_STD**2)  # what was learnt is in doubt too
            error = 0.0  # it is made good: correcting it once more would throw the base as far to the other side
        self._doubted = 0
        self._age = 0.0
        self._readings += 1
        before = self._state[0]
        self._correct(error)
        if self.sure:
            self._trend += ((self._state[0] - before) / dt - self._trend) * -math.expm1(-dt / _TREND_S)
        self._error2 += 0.05 * (min(error**2, 25.0) - self._error2)
        self._integral = max(0.0, self._integral + dt * (reading - self.target_c))

    def _settle(self, power: float) -> None:
        """Begin where two readings agree: a single one may be wrong."""
        middle = median(self._raw)
        if self._settled or sum(abs(reading - middle) < _GATE for reading in self._raw) < 2:
            return
        self._settled = True
        # it may have run for long: take half of the warmth as steady, the rest is found out
        self._lags = [power * 0.5] * len(self._lags)
        self._state[0] += middle - self._predicted()

    def allowed(self) -> float:
        """The largest constant power that keeps the temperature below the target; inf where nothing is known."""
        if not self._settled:
            return math.inf
        # what is uncertain, and what was not read for long, keeps its distance
        target = self.target_c - 0.2 - min(0.5 * math.sqrt(self._error2), 2.0) - min(self._age / 30.0, 5.0)
        return self._by_model(target) if self.sure else self._by_rule(target)

    def _by_model(self, target: float) -> float:
        base, resistances = self._state[0], self._state[1:]
        trend, allowed = max(self._trend, 0.0), math.inf
        for drifts_s, lefts in self._ahead:
            rest, gain = base + trend * drifts_s, 0.0
            for r, left, lag in zip(resistances, lefts, self._lags, strict=True):
                rest += r * lag * left
                gain += r * (1 - left)
            if gain > 1e-6:
                allowed = min(allowed, max(target - rest, 0.0) / gain)
        return allowed

    def _by_rule(self, target: float) -> float:
        """Proportional to the distance, with an integral above the target; nothing to do far below it."""
        error = target - self._predicted()
        if error > _ON:
            return math.inf
        sustainable = max(self._mean_power, 1e-9)
        gain = 2 * sustainable / _ON if error > 0 else sustainable / _ON
        return max(0.0, sustainable + gain * error - gain / 10 * self._integral)

    def _predicted(self) -> float:
        return self._state[0] + sum(r * lag for r, lag in zip(self._state[1:], self._lags, strict=True))

    def _correct(self, error: float) -> None:
        """One Kalman step with the row (1, lag_1, lag_2, ...)."""
        row: Sequence[float] = (1.0, *self._lags)
        gained = [sum(map(mul, line, row)) for line in self._cov]
        variance = sum(map(mul, row, gained)) + max(self._error2, 0.05)
        for i, (line, g) in enumerate(zip(self._cov, gained, strict=True)):
            gain = g / variance
            self._state[i] += gain * error
            if i:
                self._state[i] = max(self._state[i], 0.0)  # power never cools
            for j, other in enumerate(gained):
                line[j] -= gain * other
