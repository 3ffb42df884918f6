"""Predict the temperature with a thermal model that is identified while the device runs.

The temperature is T = b + x_1 + x_2 + ..., where x_i follows r_i * P with the time constant tau_i. The base b is the
temperature without power; it drifts with the sun and the case. A Kalman filter estimates b and every r_i from
temperatures and powers. The lags follow from the powers alone.

The allowed power is the largest constant power with which T stays below the target up to the horizon. It keeps a
distance from the target, which is the standard deviation of the model's own predictions.
"""

import math
from collections import deque
from collections.abc import Sequence
from operator import mul
from statistics import NormalDist, median

from hydrart.governor.parameters import Parameters
from hydrart.governor.points import TYPICAL_STAGES, Thermal

_SAFE_STD = NormalDist().inv_cdf(0.95)  # 95 of 100 temperatures stay below the target
_WAYPOINTS = (1 / 8, 1 / 4, 1 / 2, 1.0)  # shares of the horizon at which the target must hold


class ThermalModel:
    """Follow power and temperature, about once a second, and say how much power the target allows.

    - target_c: the temperature to stay below, in degrees Celsius.
    - known: the profile's thermal model; None without one.

    Powers are in watts. Any other unit that is proportional to the heat will do, as long as it is always the same.
    """

    def __init__(self, target_c: float, known: Thermal | None, parameters: Parameters) -> None:
        self.target_c = target_c
        self._p = p = parameters
        stages = known.stages if known else TYPICAL_STAGES
        self._taus = [stage.tau_s for stage in stages]
        # for each waypoint: the time for which b drifts on, and the share that is left of each lag
        ahead_s = [share * p.horizon_s for share in _WAYPOINTS]
        self._ahead = [(min(s, p.horizon_s / 2), [math.exp(-s / tau) for tau in self._taus]) for s in ahead_s]
        self._state = [0.0, *(stage.r_c_per_w for stage in stages)]  # b, r_1, r_2, ...; the first readings set b
        self._least_var = p.sensor_c**2 / 12  # of a reading: the variance of a uniform distribution
        self._drift_var = p.sensor_c**2 / p.forget_s  # of b per second: a sensor's step is drifted in that time
        self._outlier = p.outlier
        n = len(self._state)
        self._cov = [[0.0] * n for _ in range(n)]
        for i in range(1, n):
            self._cov[i][i] = self._state[i] ** 2  # a profile gives the order of magnitude
        self._lags = [0.0] * len(stages)  # the power, delayed by each stage: T = b + sum(r_i * lag_i)
        self._raw: deque[float] = deque(maxlen=3)
        self._settled = False
        self._doubted = 0
        self._error2 = self._least_var  # mean squared error of the predictions, K^2
        self._age = 0.0  # seconds since the last reading
        self._trend = 0.0  # the drift of b, kelvin per second

    @property
    def temp_c(self) -> float | None:
        """The temperature by the model, in degrees Celsius; None until two readings agree."""
        return self._predicted() if self._settled else None

    def update(self, dt: float, power: float, temp_c: float | None) -> None:
        """Account for dt seconds with this mean power. temp_c: a new reading; None without one."""
        p = self._p
        if temp_c is not None:
            self._raw.append(temp_c)
            self._settle(power)
        for i, tau in enumerate(self._taus):
            self._lags[i] += (power - self._lags[i]) * -math.expm1(-dt / tau)
        self._cov[0][0] += self._drift_var * dt
        self._age += dt
        if temp_c is None or not self._settled:
            return
        error = median(self._raw) - self._predicted()
        gained, variance = self._innovation()
        if error**2 > self._outlier**2 * max(variance, p.sensor_c**2):
            self._doubted += 1
            if self._doubted < (p.patience if error > 0 else p.memory):
                return
            self._state[0] += error
            self._cov[0][0] += error**2
            self._error2 = max(self._error2, p.sensor_c**2)  # the resistances are in doubt too
            error = 0.0  # the base has taken the whole error: a second correction would overshoot by as much
            gained, variance = self._innovation()
        self._doubted = 0
        self._age = 0.0
        before = self._state[0]
        self._correct(error, gained, variance + max(self._error2, self._least_var))
        self._trend += ((self._state[0] - before) / dt - self._trend) * -math.expm1(-dt / p.horizon_s)
        self._error2 += (error**2 - self._error2) / p.memory

    def _settle(self, power: float) -> None:
        """Start when two readings agree, because a single one may be wrong."""
        middle = median(self._raw)
        near = self._outlier * self._p.sensor_c
        if self._settled or sum(abs(reading - middle) < near for reading in self._raw) < 2:
            return
        self._settled = True
        # Nobody knows for how long the device ran before. Half of the steady warmth is the guess in the middle.
        self._lags = [power * 0.5] * len(self._lags)
        self._state[0] = middle - self._warmth()
        self._cov[0][0] = self._warmth() ** 2

    def allowed(self) -> float:
        """The largest constant power that keeps the temperature below the target; inf while nothing is known."""
        if not self._settled:
            return math.inf
        margin_c = _SAFE_STD * math.sqrt(max(self._error2, self._least_var) + self._drift_var * self._age)
        target = self.target_c - margin_c
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

    def _predicted(self) -> float:
        return self._state[0] + self._warmth()

    def _warmth(self) -> float:
        """The temperature less the base, in kelvin: what the power has added."""
        return sum(r * lag for r, lag in zip(self._state[1:], self._lags, strict=True))

    def _innovation(self) -> tuple[list[float], float]:
        """The covariance times the observation row (1, lag_1, lag_2, ...), and the variance of the prediction."""
        row: Sequence[float] = (1.0, *self._lags)
        gained = [sum(map(mul, line, row)) for line in self._cov]
        return gained, sum(map(mul, row, gained))

    def _correct(self, error: float, gained: list[float], variance: float) -> None:
        """One step of the Kalman filter."""
        for i, (line, g) in enumerate(zip(self._cov, gained, strict=True)):
            gain = g / variance
            self._state[i] += gain * error
            if i:
                self._state[i] = max(self._state[i], 0.0)  # power never cools
            for j, other in enumerate(gained):
                line[j] -= gain * other
