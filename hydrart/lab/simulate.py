"""Simulate a device whose k a policy chooses: latencies with tails, heat with throttling, a battery, sensors.

Frames come at a fixed rate into a mailbox that holds one. Whenever the device is free, the policy chooses k for the
frame in the mailbox. A frame is dropped if the next one replaces it there, or if the policy skips it. Every policy
meets the same luck: the same frames are slow, the same readings are wrong.

The constants below belong to the simulated world. The governor must not know them and shares none of them.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hydrart.device.profiles import Device
from hydrart.device.readers import EVERY_S
from hydrart.errors import ProfileError, SettingError
from hydrart.governor.governor import Governor
from hydrart.governor.parameters import DEFAULTS, Parameters
from hydrart.governor.points import OperatingPoint, Profile, interpolate
from hydrart.lab.trace import Floats, Trace

# Pareto index of the latencies beyond tail_x. It is the smallest whole number with a finite variance: with it, a run of
# half an hour tells one policy from another.
_LUCK_TAIL_INDEX = 3.0
_TEMP_NOISE_C = 0.2  # standard deviation of a temperature reading
_TEMP_STEP_C = 0.1  # resolution of a temperature reading
_POWER_NOISE = 0.02  # relative standard deviation of a power reading
_BATTERY_STEP = 0.01  # resolution of the gauge, which shows whole percents
_LATE_READINGS = 8  # a late reading is as old as so many readings
_STUCK_C = 85.0  # a stuck thermometer shows this, as the DS18B20 does before its first conversion
_HEAT_STEP_S = 0.5  # longest step of the heat's integration
_STEP_X = 1.3  # a change of the slow-down by this factor is a step
_HOLD_S = 3.0  # the slow-down must hold so long before and after a step
_LEVEL_S = 20.0  # the new level of k is found within this time
MOST_FRAMES, MOST_SECONDS = 10_000_000, 10_000_000  # of a simulation: what fits into a few GB of memory
_NEAR_K = 1  # k has settled when it is so near to its new level
_STAYS = 5  # and when it stays there for so many frames


class Policy(Protocol):
    """A controller that chooses k for the simulated device."""

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        """The k of a frame that is waited_ms old; None drops it. frame: its number, for the oracle's plan alone."""

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        """Learn that a frame with k took latency_ms and ended at `now`."""

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        """Take the readings of the sensors, about once a second, by the names of Governor.observe()."""


@dataclass(frozen=True)
class Goals:
    """The goals of a run.

    - fps: frames per second.
    - max_temp_c: the temperature to stay below; None: the governor's default.
    - until_h: hours that the battery must last; None: no such goal.
    - miss_price: the governor's price of a missed frame; None: its default.
    """

    fps: float
    max_temp_c: float | None = None
    until_h: float | None = None
    miss_price: float | None = None


class World:
    """The conditions of one run: everything that does not depend on the policy.

    - profile: what a policy may know of the device. ks: the ks of its table.
    - latency_ms: float64 [frames, ks], of the cool device.
    - deadline_ms, ambient_c, load_w: float64 [frames].
    - power_w: float64 [ks], of the whole device while k runs. idle_w: its power at rest.
    - target_c, throttle_c: None without a thermal model.
    - start_wh: energy of the battery at the start; None without a battery.

    Raises ProfileError, SettingError.
    """

    def __init__(
        self,
        device: Device,
        trace: Trace,
        accuracy: Mapping[int, float],
        goals: Goals,
        duration_s: float,
        seed: int,
        charge: float = 1.0,
    ) -> None:
        if not device.latency_ms:
            raise ProfileError(f"{device.name} has no latencies to simulate: measure some with: hydrart bench --save")
        self.device, self.trace, self.goals = device, trace, goals
        self.ks = tuple(sorted(accuracy))
        self.accuracy = np.array([accuracy[k] for k in self.ks])
        self.period_s = 1 / goals.fps
        if not (duration_s <= MOST_SECONDS and duration_s * goals.fps <= MOST_FRAMES):
            raise SettingError(
                f"{duration_s:.3g} s at {goals.fps:.3g} frames a second are too much to simulate: stay below "
                f"{MOST_FRAMES:,} frames and {MOST_SECONDS:,} s"
            )
        self.frames = max(1, round(duration_s * goals.fps))
        self.times: Floats = np.arange(self.frames, dtype=np.float64) * self.period_s
        idle_ms = np.array([interpolate(device.latency_ms, k) for k in self.ks], float)
        rng = np.random.default_rng(seed)
        self.latency_ms = idle_ms * trace.slowdowns(self.times, self.ks) * _luck(device, self.frames, rng)[:, None]
        self.deadline_ms = trace.at(self.times, "deadline_ms", 1000 * self.period_s)
        self.ambient_c = trace.at(self.times, "ambient_c", device.thermal.ambient_c if device.thermal else math.nan)
        self.load_w = trace.at(self.times, "load_w")
        power = {k: interpolate(device.power_w, k) for k in self.ks}
        self.power_w = np.array([power[k] or 0.0 for k in self.ks])
        self.idle_w = device.idle_w or 0.0
        self.profile = Profile(
            tuple(
                OperatingPoint(k, float(ms), float(a), float(ms), power[k])
                for k, ms, a in zip(self.ks, idle_ms, self.accuracy, strict=True)
            ),
            device.idle_w,
            device.jitter,
            device.thermal,
            device.capacity_wh,
        )
        self.throttle_c = device.thermal.throttle_c if device.thermal else None
        self.target_c = self.governor().max_temp_c  # every policy has the target that the governor has
        self.start_wh = device.capacity_wh * charge if device.capacity_wh else None
        if goals.until_h is not None and self.start_wh is None:
            raise SettingError(f"{device.name} has no battery that could last: give its capacity_wh in the profile")
        seconds = math.ceil(duration_s) + 1
        self.faults = rng.random(seconds) < trace.at(np.arange(seconds, dtype=float), "faults")
        self.fault_kinds = rng.integers(0, 4, seconds)
        self.noise = rng.standard_normal((seconds, 2))

    def governor(self, parameters: Parameters = DEFAULTS) -> Governor:
        """The governor of a real run, with the goals of this world."""
        goals = self.goals
        return Governor(
            self.profile,
            fps=goals.fps,
            max_temp_c=goals.max_temp_c,
            until_h=goals.until_h,
            miss_price=goals.miss_price,
            parameters=parameters,
        )


@dataclass
class Outcome:
    """The result of a policy in a world. Arrays hold one value per frame."""

    policy: str
    k: NDArray[np.int64]  # 0: the frame was dropped
    age_ms: Floats  # nan: the frame was dropped
    missed: NDArray[np.bool_]
    temp_c: Floats
    left: Floats  # charge of the battery, 0 to 1
    accuracy: float
    energy_j: float
    throttled_s: float
    over_target_c_s: float
    over_target_c: float  # the largest excess over the target, in kelvin
    battery_end_h: float | None
    decision_us: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def miss_rate(self) -> float:
        """Share of the frames that were missed. A dropped frame is missed too."""
        return float(self.missed.mean())

    def scored(self, world: World) -> "Outcome":
        """The same run with the accuracies of another world, for a policy that does not use accuracies."""
        return replace(self, accuracy=_delivered(world, self.k, self.missed))

    def as_dict(self, world: World) -> dict[str, Any]:
        """The JSON line. A value is None where the profile has no powers, or no thermal model, to compute it from."""
        us = np.percentile(self.decision_us, (50, 99)).round(2).tolist() if len(self.decision_us) else (None, None)
        ran = self.k[self.k > 0]
        settled = settle_frames(world, self.k)
        return {
            "policy": self.policy,
            "frames": len(self.k),
            "missed": int(self.missed.sum()),
            "dropped": int((self.k == 0).sum()),
            "miss_rate": round(self.miss_rate, 6),
            "accuracy": round(self.accuracy, 6),
            "energy_j": _known(self.energy_j) if world.power_w.any() else None,
            "throttled_s": _known(self.throttled_s),
            "over_target_c_s": _known(self.over_target_c_s) if world.target_c is not None else None,
            "switches_per_min": round(float((np.diff(ran) != 0).sum()) / (len(self.k) * world.period_s / 60), 3),
            "settle_frames": settled,
            "battery_end_h": None if self.battery_end_h is None else round(self.battery_end_h, 4),
            "decision_us_p50": us[0],
            "decision_us_p99": us[1],
        }


def _known(value: float) -> float | None:
    """The value, None for nan: a world has no model of it, or a log does not say it."""
    return None if math.isnan(value) else round(value, 3)


class GovernorPolicy:
    """The real governor in a simulated world."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        self._governor.deadline_ms = deadline_ms
        decision = self._governor.choose(now, waited_ms)
        return None if decision.drop else decision.k

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        self._governor.observe(now, k, latency_ms)

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        self._governor.observe(now, **readings)


def simulate(world: World, policy: Policy, name: str) -> Outcome:
    """Drive the world with the policy."""
    device, n, period_s = world.device, world.frames, world.period_s
    thermal = device.thermal
    index = {k: i for i, k in enumerate(world.ks)}
    latencies, deadlines = world.latency_ms.tolist(), world.deadline_ms.tolist()
    ambients, loads, powers = world.ambient_c.tolist(), world.load_w.tolist(), world.power_w.tolist()
    # divide the period into steps that are short for the fastest stage
    steps = max(1, math.ceil(period_s / _HEAT_STEP_S))
    shares = [(s.r_c_per_w, -math.expm1(-period_s / steps / s.tau_s)) for s in thermal.stages] if thermal else []
    warmth = [r * (world.idle_w + loads[0]) for r, _ in shares]
    throttle_c = math.inf if world.throttle_c is None else world.throttle_c
    throttle_x = thermal.throttle_x if thermal else 1.0
    target_c = math.inf if world.target_c is None else world.target_c
    left_j = math.inf if world.start_wh is None else world.start_wh * 3600
    full_j = (device.capacity_wh or 1.0) * 3600
    chosen, ages, missed = np.zeros(n, np.int64), np.full(n, np.nan), np.ones(n, bool)
    temps, lefts = np.full(n, np.nan), np.full(n, np.nan)
    sensing = _Sensing(world)
    spent = []
    energy_j = throttled_s = over_c_s = 0.0
    free_at = busy_s = 0.0
    busy_w = 0.0
    empty_h: float | None = None
    temp_c = ambients[0] + sum(warmth)
    throttled = False
    next_sense = 0.0
    drawn_w = world.idle_w + loads[0]
    clock = time.thread_time_ns  # CPU time: other programs that have the core do not count
    for i in range(n):
        t = i * period_s
        if free_at < t + period_s:  # otherwise the next frame replaces this one
            start = max(t, free_at)
            if start >= next_sense:
                next_sense = start + EVERY_S
                policy.sense(start, sensing.read(start, temp_c, left_j / full_j, drawn_w, throttled))
            waited_ms = (start - t) * 1000
            before = clock()
            k = policy.choose(start, deadlines[i], waited_ms, i)
            after = clock()
            if k is not None:
                column = index[k]
                latency_ms = latencies[i][column] * (throttle_x if throttled else 1.0)
                free_at = start + latency_ms / 1000
                chosen[i], ages[i] = k, waited_ms + latency_ms
                missed[i] = waited_ms + latency_ms > deadlines[i]
                busy_s += latency_ms / 1000
                busy_w = powers[column] - world.idle_w
                again = clock()
                policy.observe(free_at, k, latency_ms)
                after += clock() - again
            spent.append(after - before)
        worked_s = min(busy_s, period_s)
        busy_s -= worked_s
        own_w = world.idle_w + busy_w / (throttle_x if throttled else 1.0) * worked_s / period_s
        drawn_w = own_w + loads[i]
        energy_j += own_w * period_s
        left_j -= drawn_w * period_s
        if shares:
            for _ in range(steps):
                warmth = [x + (r * drawn_w - x) * share for x, (r, share) in zip(warmth, shares, strict=True)]
            temp_c = ambients[i] + sum(warmth)
            throttled = temp_c >= throttle_c
            throttled_s += throttled * period_s
            over_c_s += max(0.0, temp_c - target_c) * period_s
            temps[i] = temp_c
        if left_j < math.inf:
            lefts[i] = max(left_j, 0.0) / full_j
            if left_j <= 0:
                empty_h = (t + period_s) / 3600
                break
    if left_j < math.inf and empty_h is None and energy_j > 0:
        # the battery did not end: extrapolate with the mean power of the run
        hours = n * period_s / 3600
        empty_h = hours * (1 + left_j / ((world.start_wh or 0.0) * 3600 - left_j))
    return Outcome(
        policy=name,
        k=chosen,
        age_ms=ages,
        missed=missed,
        temp_c=temps,
        left=lefts,
        accuracy=_delivered(world, chosen, missed),
        energy_j=energy_j,
        throttled_s=math.nan if world.throttle_c is None else throttled_s,
        over_target_c_s=over_c_s,
        over_target_c=float(np.nanmax(temps)) - target_c if shares else 0.0,
        battery_end_h=empty_h,
        decision_us=np.array(spent) / 1000,
    )


def _delivered(world: World, chosen: NDArray[np.int64], missed: NDArray[np.bool_]) -> float:
    """The mean accuracy over all frames; a missed frame counts as 0."""
    right = np.array([0.0, *world.accuracy])[np.searchsorted(world.ks, chosen) + (chosen > 0)]
    return float(np.where(missed, 0.0, right).mean())


class _Sensing:
    """Make readings with noise and limited resolution. Some are wrong where the trace has faults."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._temps: list[float] = []

    def read(self, now: float, temp_c: float, left: float, drawn_w: float, throttled: bool) -> dict[str, Any]:
        world = self._world
        row = min(int(now), len(world.faults) - 1)
        noise = world.noise[row].tolist()
        readings: dict[str, Any] = {}
        if world.device.thermal:
            measured = round((temp_c + _TEMP_NOISE_C * noise[0]) / _TEMP_STEP_C) * _TEMP_STEP_C
            self._temps.append(measured)
            readings["temp_c"] = measured
            readings["throttled"] = throttled
        if world.start_wh is not None:
            readings["battery"] = math.floor(left / _BATTERY_STEP) * _BATTERY_STEP
            readings["power_w"] = drawn_w * (1 + _POWER_NOISE * noise[1])
            readings["charging"] = False
        if world.faults[row]:
            kind = world.fault_kinds[row]
            if kind == 0:
                return {}
            if "temp_c" in readings:
                readings["temp_c"] = (self._temps[max(0, len(self._temps) - 1 - _LATE_READINGS)], _STUCK_C, 0.0)[
                    kind - 1
                ]
        return readings


def _luck(device: Device, frames: int, rng: np.random.Generator) -> Floats:
    """The factor on each frame's latency: lognormal, and with probability tail_p a Pareto tail above tail_x."""
    jitter = device.jitter
    scatter = np.exp(jitter.sigma * rng.standard_normal(frames))
    tail = jitter.tail_x * (1 + rng.pareto(_LUCK_TAIL_INDEX, frames))
    return np.where(rng.random(frames) < jitter.tail_p, tail, scatter)


def settle_frames(world: World, chosen: NDArray[np.int64]) -> float | None:
    """Frames from a step of the load until k is at its new level: the mean over all steps; None without steps.

    The new level is the median k of the second half of the time for which the load holds, 20 s at most.
    """
    levels = np.exp(np.log(world.trace.slowdowns(world.times, world.ks)).mean(axis=1))
    jumps = np.flatnonzero(np.abs(np.diff(np.log(levels))) >= math.log(_STEP_X)) + 1
    hold = math.ceil(_HOLD_S / world.period_s)
    longest = math.ceil(_LEVEL_S / world.period_s)
    counts = []
    if not len(jumps):
        return None
    for before, jump, after in zip([0, *jumps[:-1]], jumps, [*jumps[1:], len(chosen)], strict=True):
        if jump - before < hold or after - jump < hold:
            continue
        ks = chosen[jump : min(after, jump + longest)]
        level = np.median(ks[len(ks) // 2 :])
        near = np.abs(ks - level) <= _NEAR_K
        settled = (i for i in range(len(ks)) if near[i : i + _STAYS].all())
        counts.append(next(settled, len(ks)))
    return round(float(np.mean(counts)), 2) if counts else None
