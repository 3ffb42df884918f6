"""Governor: the most accurate k that the deadline, the heat and the battery allow.

It is pure: the clock is passed in, nothing is read or written, equal observations give equal decisions.

Two loops. The slow one, once a second, asks the thermal model and the battery how much power they allow; the ks whose
mean power fits are open. The fast one, every frame, takes the open k with the largest expected value: its accuracy
times the probability of being in time, less the price of being late. Switching up waits a few frames, longer after an
attempt that failed; switching down never waits.
"""

import math
from typing import NamedTuple

from hydrart.errors import SettingError
from hydrart.governor.battery import BatteryBudget
from hydrart.governor.latency import LatencyModel
from hydrart.governor.points import Profile, ProfileRow, interpolate
from hydrart.governor.thermal import ThermalModel
from hydrart.readings import READINGS, Readings, plausible

_PRICE = 1.5  # of a late frame, in right answers, on top of the answer that is lost
_STAY = 0.004  # of the accuracy, that another k must gain: below, switching is not worth it
_CLIMB = 0.03  # share of the time left that a larger k must leave free, beyond what the present one must
_STRANGE = 0.15  # the same for a k that has no measured latency
_DWELL = 4  # frames between a switch and the next one upwards
_FAILED = 30  # frames: who has to come down sooner after going up waits twice as long before going there again
_DWELL_MAX_S = 20.0
_LIMIT_DWELL_S = 20.0  # between a change of the power limit and the next upwards
_REVIEW_S = 0.99  # between two rounds of the slow loop: sensors are read once a second
_STALE_S = 30.0  # a k that did not run for so long is tried: `probe`
_FRESH = 0.05  # of the period: a frame that waited for longer is dropped where even the smallest k is too slow
_BELOW_THROTTLING_C = 2.0  # the target where none is given
_CALMER = 0.5  # cores: other programs use so much less than when it was busiest
_CALMER_S = 10.0  # between two such reliefs: a load that swings is no relief at each swing
_QUANTILE = 0.99


class Decision(NamedTuple):
    """What to run next.

    k: heads. reason: `fixed`; `largest` (nothing forbids the most accurate k); `deadline`, `heat`, `battery` or
    `supply` (what forbids the next better one); `probe` (a larger k is tried again); `overload` (even the smallest is
    late); `unknown` (nothing was observed yet). expected_ms, quantile_ms: the latency of k to expect, and what 99 of
    100 frames stay below, None if unknown. signal, bound: the numbers behind the reason: what the next better k would
    need and what there is, in ms (deadline, overload), C (heat: now, and the target) or W (battery, supply), None where
    they are not known. drop: skip this frame, so that the next comes in time.
    """

    k: int
    reason: str
    expected_ms: float | None = None
    quantile_ms: float | None = None
    signal: float | None = None
    bound: float | None = None
    drop: bool = False

    @property
    def why(self) -> str:
        """The reason with its numbers, for people."""
        if self.signal is None or self.bound is None:
            return self.reason
        unit = {"heat": "C", "battery": "W", "supply": "W"}.get(self.reason, "ms")
        return f"{self.reason}: {self.signal:.1f} of {self.bound:.1f} {unit}"


class Governor:
    """Chooses k for every frame.

    fps: frames come at this rate, and each is to be answered within 1 / fps seconds, or within deadline_ms. None: no
    deadline, the most accurate k runs. max_temp_c: target; without one, 2 C below where the profile says that the
    device throttles. until_h: hours from the first call that the battery shall last. k fixes it; min_k, max_k bound
    it. energy_weight: accuracy (0 to 1) that a joule per frame is worth. Raises SettingError.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        fps: float | None = None,
        deadline_ms: float | None = None,
        max_temp_c: float | None = None,
        until_h: float | None = None,
        k: int | None = None,
        min_k: int | None = None,
        max_k: int | None = None,
        energy_weight: float = 0.0,
    ) -> None:
        _check(fps, "fps", "no rate: pass a positive number of frames per second")
        _check(deadline_ms, "deadline_ms", "no deadline: pass a positive number of milliseconds")
        _check(until_h, "until_h", "no time to last: pass a positive number of hours")
        if not (math.isfinite(energy_weight) and energy_weight >= 0):
            raise SettingError(f"energy_weight={energy_weight} is no weight: pass 0 or more")
        self.max_temp_c: float | None = None
        self._profile = profile
        self._fixed = k
        self._rows = profile.between(min_k, max_k) if k is None else profile.between(k, k)
        self.deadline_ms = deadline_ms or (1000 / fps if fps else math.inf)
        self._period_ms = 1000 / fps if fps else math.inf
        self._weight = energy_weight
        self._accuracy = _accuracies(self._rows)
        self._idle_w, self._power = _powers(profile)
        self._in_watts = any(row.power_w is not None for row in profile.rows)
        # the most accurate first; of two that are equal, the smaller
        self._ranked = sorted(self._rows, key=lambda row: (-self._accuracy[row.k], row.k))
        self._better = {row.k: better for better, row in zip(self._ranked, self._ranked[1:], strict=False)}
        self._by_power = sorted(self._rows, key=lambda row: row.k)
        self._open = {row.k for row in self._rows}
        self._limit = ""  # what closed the others
        self._limit_numbers: tuple[float, float] | None = None
        self._limit_up_at = -math.inf
        self._latency = LatencyModel(profile.rows, profile.jitter)
        self._measured = {row.k for row in profile.rows if row.latency_ms is not None}
        self._thermal: ThermalModel | None = None
        self.limit_temperature(max_temp_c)
        self._until_h = until_h
        self._capacity_wh = profile.capacity_wh
        self._battery: BatteryBudget | None = None
        self._charging = False
        self._current: int | None = None
        self._climbed_at = self._up_at = -math.inf
        self._climbed_to = 0
        self._wall, self._wall_until, self._backoff = math.inf, -math.inf, 1.0
        self._started_at = -math.inf  # of the frame that ran last
        self._reviewed_at: float | None = None
        self._busy_ws = 0.0  # joules beyond idle since the last review
        self._readings: Readings = {}
        self._busiest, self._calmed_at = 0.0, -math.inf

    def fix(self, k: int | None) -> None:
        """Keep to one k, or with None choose again. Raises SettingError."""
        if k is not None and k not in self._power:
            raise SettingError(f"k={k} was not trained: choose from {', '.join(map(str, self._power))}")
        self._fixed = k

    def limit_temperature(self, max_temp_c: float | None) -> None:
        """Change the target; None: the device profile's. Raises SettingError."""
        self.max_temp_c = _target(max_temp_c, self._profile)
        if self.max_temp_c is None:
            self._thermal = None
        elif self._thermal is None:
            self._thermal = ThermalModel(self.max_temp_c, self._profile.thermal)
        else:
            self._thermal.target_c = self.max_temp_c

    # what happened

    def observe(
        self, now: float, k: int | None = None, latency_ms: float | None = None, **readings: float | bool | None
    ) -> None:
        """Take in what a frame took, what sensors read, or both. What is not known is None or left out.

        now: seconds, on the clock of choose(). readings: by the names of hydrart.readings.READINGS: temp_c (C), battery
        (charge, 0 to 1), power_w (of the whole device), charging (from a supply), throttled and undervoltage (right
        now), others_load (cores that other programs use), capacity_wh (of the full battery). Values that cannot be are
        ignored. Raises TypeError for a reading that the table lacks.
        """
        if k is not None and latency_ms is not None and k in self._power and 0 < latency_ms < math.inf:
            self._latency.observe(now, k, latency_ms)
            self._measured.add(k)
            self._busy_ws += (self._power[k] - self._idle_w) * latency_ms / 1000
        if readings:
            self._take(now, readings)
        if self._reviewed_at is None:
            self._reviewed_at = now
        elif now - self._reviewed_at >= _REVIEW_S:
            self._review(now, now - self._reviewed_at)
            self._reviewed_at = now

    def _take(self, now: float, readings: dict[str, float | bool | None]) -> None:
        """Keep readings for the next review; the load of others counts at once."""
        if unknown := readings.keys() - READINGS.keys():
            raise TypeError(f"{unknown.pop()!r} is no reading: use {', '.join(READINGS)}")
        known = plausible(readings)
        capacity_wh, others_load = known.pop("capacity_wh", None), known.pop("others_load", None)
        self._readings |= {name: value for name, value in known.items() if READINGS[name].observed}
        if capacity_wh is not None and self._battery is None:
            self._capacity_wh = capacity_wh
        if others_load is not None:
            if others_load < self._busiest - _CALMER and now - self._calmed_at >= _CALMER_S:
                self._latency.calmed()
                self._wall, self._backoff = math.inf, 1.0
                self._busiest, self._calmed_at = others_load, now
            self._busiest = max(self._busiest, others_load)

    # the slow loop: how much power is allowed

    def _review(self, now: float, dt: float) -> None:
        own_w = self._idle_w + self._busy_ws / dt
        self._busy_ws = 0.0
        readings, self._readings = self._readings, {}
        power_w = readings.get("power_w")
        if power_w is not None and not 0.2 * own_w <= power_w <= 5 * own_w + 5:
            power_w = None
        heat_w = battery_w = math.inf
        if self._thermal is not None:
            # without a table own_w is no power in watts, and what is allowed is compared with such
            heating = power_w if power_w is not None and self._in_watts else own_w
            self._thermal.update(dt, heating, readings.get("temp_c"))
            heat_w = self._thermal.allowed()
        if self._until_h is not None:
            if self._battery is None:
                self._battery = BatteryBudget(now + self._until_h * 3600, self._capacity_wh)
            if readings.get("charging") is not None or readings.get("battery") is not None:
                self._charging = bool(readings.get("charging"))  # gauges tell every few seconds: until then it is so
            self._battery.update(now, dt, own_w, power_w, readings.get("battery"), self._charging)
            battery_w = self._battery.allowed(now)
        allowed, limit = min((heat_w, "heat"), (battery_w, "battery"))
        fitting = sum(self._mean_w(row.k) <= allowed for row in self._by_power)
        if readings.get("throttled") or readings.get("undervoltage"):
            limit = "supply" if readings.get("undervoltage") else "heat"
            fitting = min(fitting, len(self._open) - 1)
        self._open_rows(now, max(fitting, 1), limit, allowed)

    def _open_rows(self, now: float, fitting: int, limit: str, allowed: float) -> None:
        """The limit falls at once, and rises only after a while, so that it does not swing."""
        present = len(self._open)
        held = fitting > present and now < self._limit_up_at
        if held:
            fitting = present
        if fitting != present:
            self._limit_up_at = now + _LIMIT_DWELL_S
        self._open = {row.k for row in self._by_power[:fitting]}
        if fitting < len(self._rows):
            self._limit = self._limit if held else limit  # what is held stays closed for what closed it
            temp_c = self._thermal.temp_c if self._thermal is not None else None
            if self._limit == "heat":
                target = self.max_temp_c
                self._limit_numbers = None if temp_c is None or target is None else (temp_c, target)
            elif not held:
                known = self._in_watts and math.isfinite(allowed)
                self._limit_numbers = (self._mean_w(self._by_power[fitting].k), allowed) if known else None

    def _mean_w(self, k: int) -> float:
        """Power averaged over a period of which k takes its share."""
        latency_ms = self._latency.expected_ms(k)
        share = 1.0 if latency_ms is None else min(1.0, latency_ms / self._period_ms)
        if math.isinf(self._period_ms):
            share = 1.0
        return self._idle_w + (self._power[k] - self._idle_w) * share

    # the fast loop: what fits the deadline

    def choose(self, now: float, waited_ms: float = 0.0, queued_ms: float | None = None) -> Decision:
        """The k of the next frame. now: seconds on a monotonic clock; waited_ms: the frame's age already; queued_ms:
        how much of that it lay ready, None for all: capturing and decoding make no frame stale, a fresher one takes as
        long."""
        smallest = self._rows[0].k
        if self._fixed is not None:
            return self._decide(now, self._fixed, "fixed")
        if not self._latency.known and not math.isinf(self.deadline_ms):
            return Decision(smallest, "unknown")
        # a frame that ends later than its successor's successor comes makes the mailbox drop one
        room_ms = min(self.deadline_ms, 2 * self._period_ms) - max(waited_ms, 0.0)
        log_room = math.log(room_ms) if room_ms > 0 else -math.inf
        k, late = self._best(now, log_room)
        if late > 0.5 and not math.isinf(log_room):
            k, late = smallest, self._latency.late(smallest, log_room)
        if late > 0.5 or room_ms <= 0:
            return self._overloaded(now, smallest, waited_ms if queued_ms is None else queued_ms, room_ms)
        reason = "largest" if k == self._ranked[0].k else "deadline"
        better = self._better.get(k)
        if better is not None and better.k not in self._open:
            reason = self._limit
        elif self._current is not None and k > self._current and now - self._latency.seen_at(k) > _STALE_S:
            reason = "probe"
        if k >= (self._current or 0) or not (self._latency.unsure or waited_ms > _FRESH * self._period_ms):
            self._switch(now, k)  # else it is smaller for this frame only
        return self._decide(now, k, reason, room_ms)

    def _best(self, now: float, log_room: float) -> tuple[int, float]:
        """The open k of the largest expected value, and the probability that it is late."""
        current = self._current
        smallest = self._rows[0].k
        best, best_value, best_late = smallest, -math.inf, 1.0
        for row in self._ranked:
            k, accuracy = row.k, self._accuracy[row.k]
            if accuracy <= best_value:
                break  # not even without risk
            if k not in self._open:
                continue
            room = log_room
            if current is not None and k > current:
                if now < self._up_at or (k >= self._wall and now < self._wall_until):
                    continue
                room -= _CLIMB
            if k not in self._measured:
                room -= _STRANGE
            if k != smallest and room < math.inf and self._latency.log_expected(k) > room:
                continue  # late every other time: at that price it is worth nothing
            late = 0.0 if room == math.inf else self._late(k, room)
            value = accuracy * (1 - late - _PRICE * late)
            if self._weight:
                value -= self._weight * self._energy_j(k)
            if k == current:
                value += _STAY * accuracy
            if value > best_value:
                best, best_value, best_late = k, value, late
        return best, best_late

    def _late(self, k: int, log_room: float) -> float:
        """The probability; what takes longer than the period on average is late, however long the deadline is."""
        if self.deadline_ms > self._period_ms and self._latency.log_expected(k) > math.log(self._period_ms):
            return 1.0
        return self._latency.late(k, log_room)

    def _overloaded(self, now: float, smallest: int, queued_ms: float, room_ms: float) -> Decision:
        """No k will be in time: the smallest, on frames that are fresh when it starts, evenly spaced."""
        expected_ms = self._latency.expected_ms(smallest) or 0.0
        stale = queued_ms > _FRESH * self._period_ms
        busy = (now - self._started_at) * 1000 < 0.95 * min(expected_ms, 1e4) and expected_ms > self._period_ms
        self._switch(now, smallest)
        drop = stale or busy
        if not drop:
            self._started_at = now
        quantile_ms = expected_ms * self._latency.quantile(_QUANTILE)
        return Decision(smallest, "overload", expected_ms, quantile_ms, expected_ms, room_ms, drop)

    def _switch(self, now: float, k: int) -> None:
        """Note a change of k, and from when on one upwards is allowed, and one to where the last failed."""
        frame_s = min(self._period_ms, self.deadline_ms, 1000.0) / 1000
        if self._current is None or k == self._current:
            self._current = k
            if k >= self._wall and now - self._climbed_at > _FAILED * frame_s:
                self._wall, self._backoff = math.inf, 1.0  # the climb has held
            return
        if k > self._current:
            self._climbed_at, self._climbed_to = now, k
        else:
            if now - self._climbed_at < _FAILED * frame_s:
                self._wall = self._climbed_to
                self._backoff = min(2 * self._backoff, _DWELL_MAX_S / _DWELL / frame_s)
            self._wall_until = now + _DWELL * self._backoff * frame_s
        self._up_at = now + _DWELL * frame_s
        self._current = k

    def _decide(self, now: float, k: int, reason: str, room_ms: float = math.inf) -> Decision:
        self._started_at = now
        expected_ms = self._latency.expected_ms(k)
        if expected_ms is None:
            return Decision(k, reason)
        quantile = self._latency.quantile(_QUANTILE)
        signal = bound = None
        if reason in ("heat", "battery", "supply"):
            signal, bound = self._limit_numbers or (None, None)
        elif reason != "fixed" and not math.isinf(room_ms):
            needs_ms = self._latency.expected_ms(self._better[k].k if k in self._better else k) or 0.0
            signal, bound = needs_ms * quantile, room_ms
        return Decision(k, reason, expected_ms, expected_ms * quantile, signal, bound)

    def _energy_j(self, k: int) -> float:
        return (self._power[k] - self._idle_w) * (self._latency.expected_ms(k) or 0.0) / 1000


def _accuracies(rows: tuple[ProfileRow, ...]) -> dict[int, float]:
    """k -> accuracy; where it is unknown for some, a line that rises with k stands for all."""
    if any(row.accuracy is None for row in rows):
        return {row.k: 0.5 + 0.5 * row.k / rows[-1].k for row in rows}
    return {row.k: row.accuracy or 0.0 for row in rows}


def _powers(profile: Profile) -> tuple[float, dict[int, float]]:
    """Power at rest, and of each k while running; without a table, the share of time that the CPU is busy."""
    table = {row.k: row.power_w for row in profile.rows if row.power_w is not None}
    if not table:
        return 0.0, {row.k: 1.0 for row in profile.rows}
    power = {row.k: interpolate(table, row.k) or 0.0 for row in profile.rows}
    return min(profile.idle_w or 0.0, *power.values()), power


def _target(max_temp_c: float | None, profile: Profile) -> float | None:
    thermal = profile.thermal
    if max_temp_c is None:
        limit = thermal.throttle_c if thermal else None
        return None if limit is None else limit - _BELOW_THROTTLING_C
    if not (math.isfinite(max_temp_c) and 0 < max_temp_c <= 150):
        raise SettingError(f"max_temp_c={max_temp_c} is no target: pass degrees Celsius, 0 to 150")
    if thermal and max_temp_c <= thermal.ambient_c:
        raise SettingError(
            f"max_temp_c={max_temp_c:g} is not above the ambient temperature of the device profile, "
            f"{thermal.ambient_c:g}: no network is that cool, pass a higher one"
        )
    return max_temp_c


def _check(value: float | None, name: str, problem: str) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name}={value} is {problem}")
