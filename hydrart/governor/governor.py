"""Governor: choose the most accurate k that the deadline, the heat and the battery allow.

It is pure: the clock is an argument, it reads nothing, and equal observations give equal decisions. It writes nothing
but the log's warnings about goals that cannot act.

It has two loops. The slow loop runs once a second. It asks the thermal model and the battery how much power is allowed,
and opens the ks whose mean power fits (limits.py). The fast loop runs for every frame. It takes the open k with the
largest expected value: expected accuracy - miss_price * P(missed) - expected loss of the next frame.
Rising to a larger k waits a few frames, and longer after a climb that failed. Falling never waits (switching.py).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from hydrart.errors import SettingError
from hydrart.governor.blind import WatchedGoals
from hydrart.governor.latency import LatencyModel
from hydrart.governor.limits import PowerLimit
from hydrart.governor.parameters import DEFAULTS, Parameters
from hydrart.governor.points import OperatingPoint, Profile, is_number
from hydrart.governor.switching import Switching
from hydrart.readings import READINGS, plausible

_WITHOUT_HEADS = 0.5  # an assumption about a network without measured accuracies: half way to always right
# These two say what a Decision reports; no choice depends on them.
_QUANTILE = 0.99  # the quantile that quantile_ms reports
# What `signal` and `bound` of a Decision are. Where no other k is named, they are of the one that was chosen.
_IN_TIME = "it needs up to {:.1f} of {:.1f} ms"
_WHY = {
    "deadline": "the next better k needs up to {:.1f} of {:.1f} ms",
    "overload": "the smallest k needs {:.1f} of {:.1f} ms",
    "heat": "{:.1f} C, to stay below {:.1f} C",
    "battery": "the next better k draws {:.1f} of {:.1f} W",
    "supply": "the next better k draws {:.1f} of {:.1f} W",
}
_PROBE_S = 30.0  # a larger k that has not run for so long is reported as a `probe`


class Decision(NamedTuple):
    """The choice for the next frame."""

    k: int
    """The number of heads."""
    reason: str
    """What decided:

    - `accuracy`: nothing forbids the most accurate k.
    - `deadline`, `heat`, `battery`, `supply`: this forbids the next better k.
    - `probe`: a larger k is tried again.
    - `overload`: even the smallest k is late.
    - `fixed`: the user fixed k.
    - `unknown`: nothing was observed yet.
    """
    expected_ms: float | None = None
    """The expected latency of k, in milliseconds; None if unknown."""
    quantile_ms: float | None = None
    """The latency below which 99 of 100 frames with k stay, in milliseconds; None if unknown."""
    signal: float | None = None
    """The need of the next better k: ms (deadline) or W (battery, supply). For heat it is the temperature in C. For the
    other reasons it is the need of the chosen k, in ms. None if unknown."""
    bound: float | None = None
    """The bound of `signal`, in its unit. For heat it is the target."""
    drop: bool = False
    """Whether to skip this frame, so that the next is in time."""

    @property
    def why(self) -> str:
        """The reason with its numbers and their meaning, for people."""
        if self.signal is None or self.bound is None:
            return self.reason
        return f"{self.reason}: {_WHY.get(self.reason, _IN_TIME).format(self.signal, self.bound)}"


class Governor:
    """Choose k for every frame.

        governor = hydrart.Governor(model.profile("raspberrypi5"), fps=15, max_temp_c=75)
        decision = governor.choose(time.monotonic())
        ...  # run decision.k heads, unless decision.drop
        governor.observe(time.monotonic(), decision.k, latency_ms, temp_c=61.0)

    - profile: the table of ks to choose from, from Model.profile().
    - fps: rate of the frames. Each frame has 1 / fps seconds.
    - deadline_ms: the time that each frame has instead, in milliseconds. Without both there is no deadline, and the
      most accurate k runs.
    - max_temp_c: temperature to stay below, in degrees Celsius. Default: 2 below the temperature at which the device
      throttles by its profile.
    - until_h: hours that the battery must last, from the first call on.
    - k: the fixed k. min_k, max_k: bounds of the choice.
    - energy_weight: accuracy (0 to 1) that a joule per frame is worth.
    - miss_price: price of a missed frame in right answers, on top of the answer that is lost. Default 0.5. More of it
      gives fewer missed frames and smaller ks.
    - parameters: other parameters, for experiments. Their miss_price holds where none is given.

    Raises SettingError.
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
        miss_price: float | None = None,
        parameters: Parameters = DEFAULTS,
    ) -> None:
        _check(fps, "fps", "no rate: pass a positive number of frames per second")
        _check(deadline_ms, "deadline_ms", "no deadline: pass a positive number of milliseconds")
        _check(until_h, "until_h", "no time to last: pass a positive number of hours")
        if miss_price is not None and not (is_number(miss_price) and miss_price >= 0):
            raise SettingError(f"miss_price={miss_price!r:.80} is no price: pass 0 or more")
        if not isinstance(profile, Profile):
            raise SettingError(f"profile={profile!r:.80} is no table of ks: pass what model.profile() returns")
        for name, heads in (("k", k), ("min_k", min_k), ("max_k", max_k)):
            if heads is not None and not is_number(heads):
                raise SettingError(f"{name}={heads!r:.80} is no number of heads: pass a whole number")
        if not (is_number(energy_weight) and energy_weight >= 0):
            raise SettingError(f"energy_weight={energy_weight!r:.80} is no weight: pass 0 or more")
        asked = {"max_temp_c": max_temp_c, "until_h": until_h}
        self.profile = profile
        self.fps = fps
        self._p = parameters if miss_price is None else replace(parameters, miss_price=miss_price)
        self._fixed = k
        self._points = profile.between(min_k, max_k) if k is None else profile.between(k, k)
        self.deadline_ms = deadline_ms or (1000 / fps if fps else math.inf)
        self._period_ms = 1000 / fps if fps else math.inf
        self._weight = energy_weight
        self._accuracy = _accuracies(self._points)
        # the most accurate first; of two equal ones the smaller first
        self._ranked = sorted(self._points, key=lambda point: (-self._accuracy[point.k], point.k))
        self._better = {point.k: better for better, point in zip(self._ranked, self._ranked[1:], strict=False)}
        self._latency = LatencyModel(profile.points, profile.jitter, self._p)
        self._measured = {point.k for point in profile.points if point.latency_ms is not None}
        self._limit = PowerLimit(profile, self._points, max_temp_c, until_h, self._busy_share, self._p)
        self._goals = WatchedGoals(name for name, value in asked.items() if value is not None)
        self._switching = Switching(self._p)
        self._started_at = -math.inf  # when the last frame started to run
        self._busiest = 0.0  # most cores that other programs used
        self._calmed_at = -math.inf

    @property
    def max_temp_c(self) -> float | None:
        """The temperature to stay below, in degrees Celsius; None without a target."""
        return self._limit.max_temp_c

    def start_from(self, latency_ms: Mapping[int, float]) -> None:
        """Take latencies that were measured here, k -> milliseconds, in place of the profile's.

        The governor forgets the latencies of earlier frames.
        """
        self.profile = self.profile.measured(latency_ms)
        self._latency = LatencyModel(self.profile.points, self.profile.jitter, self._p)
        self._measured = {point.k for point in self.profile.points if point.latency_ms is not None}

    def fix(self, k: int | None) -> None:
        """Always run this k; None: choose again. Raises SettingError."""
        trained = self._limit.power_w
        if k is not None and k not in trained:
            raise SettingError(f"k={k} was not trained: choose from {', '.join(map(str, trained))}")
        self._fixed = k

    def target(self, max_temp_c: float | None) -> float | None:
        """What limit_temperature() would make the target, in degrees Celsius. Changes nothing. Raises SettingError."""
        return self._limit.target(max_temp_c)

    def limit_temperature(self, max_temp_c: float | None) -> None:
        """Change the target, in degrees Celsius; None: the device profile's. Raises SettingError."""
        self._limit.limit_temperature(max_temp_c)
        self._goals.set("max_temp_c", max_temp_c is not None)

    def blind(self, now: float) -> dict[str, str]:
        """The goals max_temp_c and until_h where they are set but cannot act, each with the reason as a sentence.

        A goal is blind without a recent reading of the temperature or the charge, and while only one k may run. now:
        seconds on the clock of choose().

        Each goal that stays blind is also logged once, as a warning of `hydrart.governor`. That happens in observe():
        when no temperature came for 10 s or no charge for 60 s, or 3 s after the readings ended.
        """
        return self._goals.blind(now, self._only)

    def report_blind(self, now: float) -> None:
        """Log the goals that are blind now. Call it where it is known that no reading will come."""
        self._goals.report(now, self._only)

    @property
    def _only(self) -> int | None:
        """The one k that may run, if there is only one."""
        return self._fixed if self._fixed is not None else self._points[0].k if len(self._points) == 1 else None

    # what happened

    def observe(
        self, now: float, k: int | None = None, latency_ms: float | None = None, **readings: float | bool | None
    ) -> None:
        """Learn the latency of a frame, readings of sensors, or both. An unknown value is None or left out.

        - now: seconds on the clock of choose().
        - k, latency_ms: of the frame that ran.
        - readings: by the names of hydrart.readings.READINGS: temp_c (C), battery (charge, 0 to 1), power_w (of the
          whole device), charging, throttled, undervoltage, others_load (cores that other programs use), capacity_wh (of
          the full battery).

        Impossible values are ignored. Raises TypeError for a reading that the table lacks.
        """
        if k is not None and latency_ms is not None and k in self._limit.power_w and 0 < latency_ms < math.inf:
            self._latency.observe(now, k, latency_ms)
            self._measured.add(k)
            self._limit.ran(k, latency_ms)
        if readings:
            self._take(now, readings)
        self._limit.review(now)
        self._goals.review(now, self._only)

    def _take(self, now: float, readings: dict[str, float | bool | None]) -> None:
        """Keep readings for the next review. The load of others counts at once."""
        if unknown := readings.keys() - READINGS.keys():
            raise TypeError(f"{unknown.pop()!r} is no reading: use {', '.join(READINGS)}")
        known = plausible(readings)
        self._goals.hear(now, known)
        others_load = known.pop("others_load", None)
        self._limit.sense({name: value for name, value in known.items() if READINGS[name].observed})
        if others_load is not None:
            self._follow_others(now, others_load)

    def _follow_others(self, now: float, cores: float) -> None:
        """When other programs use fewer cores than before, try larger ks again."""
        if round(self._busiest - cores) >= 1 and now - self._calmed_at >= self._p.horizon_s:
            self._latency.calmed()
            self._switching.forgive()
            self._busiest, self._calmed_at = cores, now
        self._busiest = max(self._busiest, cores)

    def _busy_share(self, k: int) -> float:
        """The share of a period that k computes for, 0 to 1."""
        latency_ms = self._latency.expected_ms(k)
        if latency_ms is None or math.isinf(self._period_ms):
            return 1.0
        return min(1.0, latency_ms / self._period_ms)

    # the fast loop: what fits the deadline

    def choose(self, now: float, waited_ms: float = 0.0, queued_ms: float | None = None) -> Decision:
        """The k of the next frame.

        - now: seconds on a monotonic clock.
        - waited_ms: age of the frame.
        - queued_ms: the part of that age for which the frame waited in the mailbox; None: all of it. Only this part
          makes a frame stale, because capturing and decoding a fresher frame would take the rest again.
        """
        smallest = self._points[0].k
        if self._fixed is not None:
            return self._decide(now, self._fixed, "fixed")
        if not self._latency.known and not math.isinf(self.deadline_ms):
            return Decision(smallest, "unknown")
        # a k that computes for longer than two periods makes the mailbox drop a frame
        room_ms = min(self.deadline_ms, 2 * self._period_ms) - max(waited_ms, 0.0)
        log_room = math.log(room_ms) if room_ms > 0 else -math.inf
        next_ms = self._next_room_ms(waited_ms)
        log_next = math.log(next_ms) if next_ms > 0 else -math.inf
        k, late = self._best(now, log_room, log_next)
        # even this k is late more often than in time
        if late > 0.5 and not math.isinf(log_room):
            k, late = smallest, self._latency.late(smallest, log_room)
        if late > 0.5 or room_ms <= 0:
            return self._overloaded(now, smallest, waited_ms if queued_ms is None else queued_ms, room_ms)
        current = self._switching.current
        reason = "accuracy" if k == self._ranked[0].k else "deadline"
        better = self._better.get(k)
        if better is not None and better.k not in self._limit.open:
            reason = self._limit.reason
        elif current is not None and k > current and now - self._latency.seen_at(k) > _PROBE_S:
            reason = "probe"
        for_this_frame_only = self._latency.unsure or waited_ms > self._p.noise * self._period_ms
        if k >= (current or 0) or not for_this_frame_only:
            self._switch(now, k)
        return self._decide(now, k, reason, room_ms)

    def _best(self, now: float, log_room: float, log_next: float) -> tuple[int, float]:
        """The open k with the largest expected value, and the probability that it is late."""
        p, current = self._p, self._switching.current
        smallest, ceiling, open_ks = self._points[0].k, self._switching.ceiling(now), self._limit.open
        best, best_value, best_late = smallest, -math.inf, 1.0
        for point in self._ranked:
            k, accuracy = point.k, self._accuracy[point.k]
            if accuracy <= best_value:
                break  # it could not be better even if it were never late
            if k > ceiling or k not in open_ks:
                continue
            margin = p.noise if current is not None and k > current else 0.0
            if k not in self._measured:
                margin += self._latency.doubt
            room = log_room - margin
            log_expected = self._latency.log_expected(k) if room < math.inf else -math.inf
            if k != smallest and log_expected > room:
                continue  # it is late every other time, which is worth less than nothing
            late = 0.0 if room == math.inf else self._late(k, room, log_expected)
            value = accuracy * (1 - late) - p.miss_price * late
            if self._weight:
                value -= self._weight * self._energy_j(k)
            if k == current:
                value += (accuracy + p.miss_price) / p.window  # what one error in a window decides is noise
            if value <= best_value:
                continue  # the loss of the next frame, which takes time to compute, makes it no better
            value -= self._next_loss(k, late, log_next - margin - log_expected)
            if value > best_value:
                best, best_value, best_late = k, value, late
        return best, best_late

    def _late(self, k: int, log_room: float, log_expected: float) -> float:
        """The probability that k is late. A k with a mean latency above the period is late at any deadline."""
        if self.deadline_ms > self._period_ms and log_expected > math.log(self._period_ms):
            return 1.0
        return self._latency.exceeds(k, log_room - log_expected)

    def _next_room_ms(self, waited_ms: float) -> float:
        """The time within which this frame must end so that the next one can be in time with the smallest k."""
        least_ms = self._latency.expected_ms(self._points[0].k) or 0.0
        return min(self.deadline_ms + self._period_ms - least_ms, 2 * self._period_ms) - max(waited_ms, 0.0)

    def _next_loss(self, k: int, late: float, spare: float) -> float:
        """The expected loss of the next frame where this one is late, in right answers.

        The next frame is lost if this one ends too late even for the smallest k. Otherwise the smallest k answers it.
        spare: the logarithm of the time after which the next frame is lost, over the expected latency.
        """
        if spare == math.inf or not late:
            return 0.0
        lost, accuracy = min(self._latency.exceeds(k, spare), late), self._accuracy[k]
        return lost * (accuracy + self._p.miss_price) + (late - lost) * (accuracy - self._accuracy[self._points[0].k])

    def _overloaded(self, now: float, smallest: int, queued_ms: float, room_ms: float) -> Decision:
        """No k will be in time. The smallest runs, on evenly spaced frames that are fresh when it starts."""
        noise = self._p.noise
        expected_ms = self._latency.expected_ms(smallest) or 0.0
        stale = queued_ms > noise * self._period_ms
        spacing_ms = (1 - noise) * min(expected_ms, 1000 * self._p.horizon_s)
        busy = (now - self._started_at) * 1000 < spacing_ms and expected_ms > self._period_ms
        self._switch(now, smallest)
        drop = stale or busy
        if not drop:
            self._started_at = now
        quantile_ms = expected_ms * self._latency.quantile(_QUANTILE)
        return Decision(smallest, "overload", expected_ms, quantile_ms, expected_ms, room_ms, drop)

    def _switch(self, now: float, k: int) -> None:
        self._switching.switch(now, k, min(self._period_ms, self.deadline_ms))

    def _decide(self, now: float, k: int, reason: str, room_ms: float = math.inf) -> Decision:
        self._started_at = now
        expected_ms = self._latency.expected_ms(k)
        if expected_ms is None:
            return Decision(k, reason)
        quantile = self._latency.quantile(_QUANTILE)
        signal = bound = None
        if reason in ("heat", "battery", "supply"):
            signal, bound = self._limit.numbers or (None, None)
        elif reason != "fixed" and not math.isinf(room_ms):
            needs_ms = self._latency.expected_ms(self._better[k].k if reason == "deadline" else k) or 0.0
            signal, bound = needs_ms * quantile, room_ms
        return Decision(k, reason, expected_ms, expected_ms * quantile, signal, bound)

    def _energy_j(self, k: int) -> float:
        """The energy of a frame with k beyond that of the idle device, in joules."""
        return (self._limit.power_w[k] - self._limit.idle_w) * (self._latency.expected_ms(k) or 0.0) / 1000


def _accuracies(points: tuple[OperatingPoint, ...]) -> dict[int, float]:
    """k -> accuracy, 0 to 1. If one is unknown, a line from _WITHOUT_HEADS to 1 replaces all of them."""
    if any(point.accuracy is None for point in points):
        return {point.k: _WITHOUT_HEADS + (1 - _WITHOUT_HEADS) * point.k / points[-1].k for point in points}
    return {point.k: point.accuracy or 0.0 for point in points}


def _check(value: float | None, name: str, problem: str) -> None:
    if value is not None and not (is_number(value) and value > 0):
        raise SettingError(f"{name}={value!r:.80} is {problem}")
