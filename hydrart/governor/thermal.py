"""Predict the temperature with a thermal model that is identified while the device runs.

The temperature is T = b + x_1 + x_2 + ..., where x_i follows r_i * P with the time constant tau_i. The base b is the
temperature without power; it drifts with the sun and the case. A Kalman filter estimates b and every r_i from
temperatures and powers. The lags follow from the powers alone.

The allowed power is the largest constant power with which T stays below the target at every horizon. Until the filter
is sure, the rule of Linux' power_allocator steers instead (drivers/thermal/gov_power_allocator.c).
"""

import math
from collections import deque
from collections.abc import Sequence
from operator import mul
from statistics import median

from hydrart.governor.parameters.thermal import ThermalParameters
from hydrart.governor.points import Thermal


class ThermalModel:
    """Follow power and temperature, about once a second, and say how much power the target allows.

    - target_c: the temperature to stay below, in degrees Celsius.
    - known: the profile's thermal model; None without one.

    Powers are in watts. Any other unit that is proportional to the heat will do, as long as it is always the same.
    """

    def __init__(self, target_c: float, known: Thermal | None, parameters: ThermalParameters) -> None:
        self.target_c = target_c
        self._p = p = parameters
        stages = known.stages if known else p.stages
        with_profile = 0 if known else 1  # index into the pairs of the parameters
        self._taus = [stage.tau_s for stage in stages]
        # for each horizon: the time for which b drifts on, and the share that is left of each lag
        trend_ahead_s = p.horizons_s[-1] / 2  # a drift goes on for a while, not for ever
        self._ahead = [(min(s, trend_ahead_s), [math.exp(-s / tau) for tau in self._taus]) for s in p.horizons_s]
        self._state = [0.0, *(stage.r_c_per_w for stage in stages)]  # b, r_1, r_2, ...; the first readings set b
        self._sure_after = p.sure_after[with_profile]
        n = len(self._state)
        self._cov = [[0.0] * n for _ in range(n)]
        self._cov[0][0] = p.base_std_c**2
        for i in range(1, n):
            self._cov[i][i] = (p.prior_std[with_profile] * self._state[i]) ** 2
        self._lags = [0.0] * len(stages)  # the power, delayed by each stage: T = b + sum(r_i * lag_i)
        self._raw: deque[float] = deque(maxlen=3)
        self._settled = False
        self._readings = 0
        self._doubted = 0
        self._error2 = (p.sure_std_c / 2) ** 2  # mean squared error of the predictions, K^2
        self._age = 0.0  # seconds since the last reading
        self._integral = 0.0  # kelvin seconds above the target
        self._mean_power = 0.0
        self._trend = 0.0  # the drift of b, kelvin per second

    @property
    def temp_c(self) -> float | None:
        """The temperature by the model, in degrees Celsius; None until two readings agree."""
        return self._predicted() if self._settled else None

    @property
    def sure(self) -> bool:
        """Whether the model is identified well enough to steer by."""
        return self._readings >= self._sure_after and self._error2 < self._p.sure_std_c**2

    def update(self, dt: float, power: float, temp_c: float | None) -> None:
        """Account for dt seconds with this mean power. temp_c: a new reading; None without one."""
        p = self._p
        if temp_c is not None:
            self._raw.append(temp_c)
            self._settle(power)
        for i, tau in enumerate(self._taus):
            self._lags[i] += (power - self._lags[i]) * -math.expm1(-dt / tau)
        self._mean_power += (power - self._mean_power) * -math.expm1(-dt / p.rule_mean_s)
        self._cov[0][0] += p.drift**2 * dt
        self._age += dt
        if temp_c is None or not self._settled:
            return
        reading = median(self._raw)
        error = reading - self._predicted()
        if abs(error) > max(p.gate_c, p.gate_std * math.sqrt(self._error2)) and self._readings:
            self._doubted += 1
            if self._doubted < p.doubts[0 if error > 0 else 1]:
                return
            self._state[0] += error
            self._cov[0][0] += error**2
            self._error2 = max(self._error2, (2 * p.sure_std_c) ** 2)  # the resistances are in doubt too
            error = 0.0  # the base has taken the whole error: a second correction would overshoot by as much
        self._doubted = 0
        self._age = 0.0
        self._readings += 1
        before = self._state[0]
        self._correct(error)
        if self.sure:
            self._trend += ((self._state[0] - before) / dt - self._trend) * -math.expm1(-dt / p.trend_s)
        self._error2 += 1 / p.memory * (min(error**2, p.gate_c**2) - self._error2)
        self._integral = max(0.0, self._integral + dt * (reading - self.target_c))

    def _settle(self, power: float) -> None:
        """Start when two readings agree, because a single one may be wrong."""
        middle = median(self._raw)
        if self._settled or sum(abs(reading - middle) < self._p.gate_c for reading in self._raw) < 2:
            return
        self._settled = True
        # Nobody knows for how long the device ran before. Half of the steady warmth is the guess in the middle.
        self._lags = [power * 0.5] * len(self._lags)
        self._state[0] = middle - self._warmth()

    def allowed(self) -> float:
        """The largest constant power that keeps the temperature below the target; inf while nothing is known."""
        if not self._settled:
            return math.inf
        p = self._p
        # keep more distance from the target where the model errs more, and where the last reading is older
        target = (
            self.target_c
            - p.margin_c
            - min(p.margin_std * math.sqrt(self._error2), 2 * p.sure_std_c)
            - min(self._age / p.stale_s_per_c, p.gate_c)
        )
        return self._by_model(target) if self.sure else self._by_rule(target)

    def _by_model(self, target: float) -> float:
        """The largest power with which the model stays below the target at every horizon."""
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
        """Linux' power_allocator: proportional to the distance, with an integral above the target.

        P is the sustainable power. The band is the range of temperatures in which the rule steers. The gain is
        2 P / band below the target and P / band above it. The gain of the integral is a tenth of that.
        """
        error = target - self._predicted()
        if error > self._p.rule_band_c:
            return math.inf
        sustainable = max(self._mean_power, 1e-9)
        gain = (2 if error > 0 else 1) * sustainable / self._p.rule_band_c
        return max(0.0, sustainable + gain * error - gain / 10 * self._integral)

    def _predicted(self) -> float:
        return self._state[0] + self._warmth()

    def _warmth(self) -> float:
        """The temperature less the base, in kelvin: what the power has added."""
        return sum(r * lag for r, lag in zip(self._state[1:], self._lags, strict=True))

    def _correct(self, error: float) -> None:
        """One step of the Kalman filter with the observation row (1, lag_1, lag_2, ...)."""
        row: Sequence[float] = (1.0, *self._lags)
        gained = [sum(map(mul, line, row)) for line in self._cov]
        variance = sum(map(mul, row, gained)) + max(self._error2, self._p.reading_var_c2)
        for i, (line, g) in enumerate(zip(self._cov, gained, strict=True)):
            gain = g / variance
            self._state[i] += gain * error
            if i:
                self._state[i] = max(self._state[i], 0.0)  # power never cools
            for j, other in enumerate(gained):
                line[j] -= gain * other
