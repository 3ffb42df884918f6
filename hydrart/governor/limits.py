"""The slow loop: once a second, decide which ks the heat, the battery and the supply leave open."""

import math
from collections.abc import Callable

from hydrart.errors import SettingError
from hydrart.governor.battery import BatteryBudget
from hydrart.governor.parameters import Parameters
from hydrart.governor.points import OperatingPoint, Profile, interpolate, is_number
from hydrart.governor.thermal import ThermalModel
from hydrart.readings import READINGS, Readings

# Sensors are read once a second. This is a hundredth less, so that a reading that comes a little early counts at once.
_REVIEW_S = 0.99
_MAGNITUDE = 10.0  # a power that is off by an order of magnitude is in another unit, or of another device


class PowerLimit:
    """The power that is allowed, and the ks whose mean power fits it.

    points: the ks to choose from. max_temp_c, until_h: the goals, as the governor has them. busy_share: the share of a
    period that a k computes for, 0 to 1. Raises SettingError.
    """

    def __init__(
        self,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        max_temp_c: float | None,
        until_h: float | None,
        busy_share: Callable[[int], float],
        parameters: Parameters,
    ) -> None:
        self.idle_w, self.power_w = _powers(profile)
        self.max_temp_c: float | None = None
        self.capacity_wh = profile.capacity_wh
        self.open = {point.k for point in points}
        self.reason = ""  # what closed the others: `heat`, `battery` or `supply`
        self.numbers: tuple[float, float] | None = None  # what the next k would need and what there is, or C and target
        self._profile = profile
        self._by_power = [point.k for point in points]  # a larger k draws more
        self._busy_share = busy_share
        self._p = parameters
        self._in_watts = any(point.power_w is not None for point in profile.points)
        self._thermal: ThermalModel | None = None
        self._until_h = until_h
        self._battery: BatteryBudget | None = None
        self._charging = False
        self._readings: Readings = {}  # since the last review
        self._busy_j = 0.0  # beyond idle, since the last review
        self._reviewed_at: float | None = None
        self._up_at = -math.inf  # from then on more may be open
        self.limit_temperature(max_temp_c)

    def target(self, max_temp_c: float | None) -> float | None:
        """The target that limit_temperature() would set. Raises SettingError."""
        return _target(max_temp_c, self._profile, self._p.below_throttling_c)

    def limit_temperature(self, max_temp_c: float | None) -> None:
        """Change the target; None: below where the profile says that the device throttles. Raises SettingError."""
        self.max_temp_c = self.target(max_temp_c)
        if self.max_temp_c is None:
            self._thermal = None
        elif self._thermal is None:
            self._thermal = ThermalModel(self.max_temp_c, self._profile.thermal, self._p)
        else:
            self._thermal.target_c = self.max_temp_c

    def ran(self, k: int, latency_ms: float) -> None:
        """k computed for that long."""
        self._busy_j += (self.power_w[k] - self.idle_w) * latency_ms / 1000

    def sense(self, readings: Readings) -> None:
        """Keep readings for the next review. The capacity counts only before the battery's budget begins."""
        self._readings |= readings
        capacity_wh = self._readings.pop("capacity_wh", None)
        if capacity_wh is not None and self._battery is None:
            self.capacity_wh = capacity_wh

    def review(self, now: float) -> None:
        """Once a second, work out anew what is allowed; in between do nothing."""
        if self._reviewed_at is None:
            self._reviewed_at = now
        elif now - self._reviewed_at >= _REVIEW_S:
            self._review(now, now - self._reviewed_at)
            self._reviewed_at = now

    def _review(self, now: float, dt: float) -> None:
        own_w = self.idle_w + self._busy_j / dt
        self._busy_j = 0.0
        readings, self._readings = self._readings, {}
        power_w = readings.get("power_w")
        if power_w is not None and not own_w / _MAGNITUDE <= power_w <= _MAGNITUDE * (own_w + 1):
            power_w = None
        heat_w = battery_w = math.inf
        if self._thermal is not None:
            # Without a table of powers own_w is no power in watts, and what is allowed is compared with the table.
            heating = power_w if power_w is not None and self._in_watts else own_w
            self._thermal.update(dt, heating, readings.get("temp_c"))
            heat_w = self._thermal.allowed()
        if self._until_h is not None:
            if self._battery is None:
                until_s = now + self._until_h * 3600
                self._battery = BatteryBudget(until_s, self.capacity_wh, self._p)
            if readings.get("charging") is not None or readings.get("battery") is not None:
                self._charging = bool(readings.get("charging"))  # gauges are read every few seconds: it holds till then
            self._battery.update(now, dt, own_w, power_w, readings.get("battery"), self._charging)
            battery_w = self._battery.allowed(now)
        allowed_w, reason = min((heat_w, "heat"), (battery_w, "battery"))
        fitting = sum(self._mean_w(k) <= allowed_w for k in self._by_power)
        if readings.get("throttled") or readings.get("undervoltage"):
            reason = "supply" if readings.get("undervoltage") else "heat"
            fitting = min(fitting, len(self.open) - 1)
        self._set_open(now, max(fitting, 1), reason, allowed_w)

    def _set_open(self, now: float, fitting: int, reason: str, allowed_w: float) -> None:
        """The limit falls at once, and rises only after a wait, so that it does not swing."""
        present = len(self.open)
        held = fitting > present and now < self._up_at
        if held:
            fitting = present
        if fitting != present:
            self._up_at = now + self._p.horizon_s
        self.open = set(self._by_power[:fitting])
        if fitting < len(self._by_power):
            self.reason = self.reason if held else reason  # while it is held, the reason stays the one that closed it
            temp_c = self._thermal.temp_c if self._thermal is not None else None
            if self.reason == "heat":
                target_c = self.max_temp_c
                self.numbers = None if temp_c is None or target_c is None else (temp_c, target_c)
            elif not held:
                known = self._in_watts and math.isfinite(allowed_w)
                self.numbers = (self._mean_w(self._by_power[fitting]), allowed_w) if known else None

    def _mean_w(self, k: int) -> float:
        """Power averaged over a period, in which k computes for its share."""
        return self.idle_w + (self.power_w[k] - self.idle_w) * self._busy_share(k)


def _powers(profile: Profile) -> tuple[float, dict[int, float]]:
    """Power at rest, and of each k while it runs; without a table, the share of time that the CPU is busy."""
    table = {point.k: point.power_w for point in profile.points if point.power_w is not None}
    if not table:
        return 0.0, {point.k: 1.0 for point in profile.points}
    power = {point.k: interpolate(table, point.k) or 0.0 for point in profile.points}
    return min(profile.idle_w or 0.0, *power.values()), power


def _target(max_temp_c: float | None, profile: Profile, below_throttling_c: float) -> float | None:
    thermal = profile.thermal
    if max_temp_c is None:
        limit = thermal.throttle_c if thermal else None
        return None if limit is None else limit - below_throttling_c
    hottest = READINGS["temp_c"].high
    if not (is_number(max_temp_c) and 0 < max_temp_c <= hottest):
        raise SettingError(f"max_temp_c={max_temp_c!r:.80} is no target: pass degrees Celsius, 0 to {hottest:g}")
    if thermal and max_temp_c <= thermal.ambient_c:
        raise SettingError(
            f"max_temp_c={max_temp_c:g} is not above the ambient temperature of the device profile, "
            f"{thermal.ambient_c:g}: no network is that cool, pass a higher one"
        )
    return max_temp_c
