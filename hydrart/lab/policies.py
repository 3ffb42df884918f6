"""The policies that the governor is compared with: published ones, simple ones, and the best fixed k.

All policies get the same readings. Some use neither heat nor battery.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hydrart.errors import SettingError
from hydrart.lab.oracle import plan
from hydrart.lab.simulate import GovernorPolicy, Outcome, Policy, World, simulate
from hydrart.resources import suggestion

# A run keeps its goals up to so many kelvin above the target, and with a battery that ends by this share too early.
OVER_TARGET_C = 1.0
ENDS_EARLY = 0.03
_RESERVE = 0.005  # of the capacity: half a step of the simulated gauge, so that it never ends before it shows 0


class Fixed:
    """One k for all frames."""

    def __init__(self, k: int) -> None:
        self._k = k

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        return self._k

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        pass

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        pass


class Planned(Fixed):
    """A k for each frame, planned before the run; 0 drops the frame."""

    def __init__(self, ks: list[int]) -> None:
        super().__init__(0)
        self._ks = ks

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        return self._ks[frame] or None


@dataclass(frozen=True)
class AlertConstants:
    """The constants of ALERT's Kalman filter, by default as published (USENIX ATC 2020, arXiv 1911.00119)."""

    k0: float = 0.5
    r: float = 0.001
    q0: float = 0.1
    alpha: float = 0.3


# the best constants of a grid, on the tuning seeds: python -m tools.results --tune-alert
TUNED = AlertConstants(r=0.01, q0=0.001)


class Alert(Fixed):
    """ALERT: the largest expected accuracy within the energy of a frame.

    A Kalman filter estimates one slow-down for all ks, with a Gaussian error. ALERT can also minimise the energy for a
    given accuracy, and choose power settings. Neither has a counterpart here.
    """

    def __init__(self, world: World, constants: AlertConstants) -> None:
        super().__init__(0)
        self._world, self._c = world, constants
        self._idle_ms = {row.k: row.latency_ms or 0.0 for row in world.profile.points}
        self._accuracy = dict(zip(world.ks, world.accuracy.tolist(), strict=True))
        self._power = dict(zip(world.ks, world.power_w.tolist(), strict=True))
        self._mu, self._var, self._q, self._gain, self._y = 1.0, 0.1, constants.q0, constants.k0, 0.0
        self._budget = _Energy(world)

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        room_ms, budget_j = deadline_ms - waited_ms, self._budget.per_frame(now)
        std = math.sqrt(self._var)
        best, best_key = self._world.ks[0], (False, -math.inf, -math.inf)
        for k in self._world.ks:
            idle_ms = self._idle_ms[k]
            late = 0.5 * math.erfc((room_ms / idle_ms - self._mu) / std / math.sqrt(2))
            active_s = max(self._mu * idle_ms, 0.0) / 1000
            joules = (self._power[k] - self._world.idle_w) * active_s + self._world.idle_w * self._world.period_s
            fits = joules <= budget_j
            key = (fits, self._accuracy[k] * (1 - late) if fits else -joules, -joules)
            if key > best_key:
                best, best_key = k, key
        return best

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        c = self._c
        self._q = max(c.q0, c.alpha * self._q + (1 - c.alpha) * (self._gain * self._y) ** 2)
        prior = (1 - self._gain) * self._var + self._q
        self._y = latency_ms / self._idle_ms[k] - self._mu
        self._gain = prior / (prior + c.r)
        self._mu += self._gain * self._y
        self._var = prior

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        self._budget.sense(readings)


class _Energy:
    """The energy that each frame may use: the energy left, spread evenly over the frames left; inf without a goal.

    It keeps the governor's reserve, because both read the same gauge.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._share: float | None = None

    def per_frame(self, now: float) -> float:
        world = self._world
        if world.goals.until_h is None or self._share is None or world.start_wh is None:
            return math.inf
        seconds = world.goals.until_h * 3600 - now
        if seconds <= 0:
            return math.inf
        capacity_j = (world.device.capacity_wh or 0.0) * 3600
        return max(self._share - _RESERVE, 0.0) * capacity_j / seconds * world.period_s

    def sense(self, readings: Mapping[str, Any]) -> None:
        self._share = readings.get("battery", self._share)


class Mean20(Fixed):
    """One k down if the mean of the last 20 latencies exceeds the deadline, one up if it is below 0.7 deadlines.

    Source: the demonstration program of Dynamic-OFA.
    """

    def __init__(self, world: World) -> None:
        super().__init__(0)
        self._ks, self._at = world.ks, 0
        self._last: deque[float] = deque(maxlen=20)

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        if len(self._last) == 20:
            mean = sum(self._last) / 20
            step = -1 if mean > deadline_ms else 1 if mean < 0.7 * deadline_ms else 0
            moved = min(max(self._at + step, 0), len(self._ks) - 1)
            if moved != self._at:
                self._at = moved
                self._last.clear()
        return self._ks[self._at]

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        self._last.append(latency_ms)


class Margin(Fixed):
    """The largest k whose predicted latency is below deadline / 1.3. Source: ApproxDet.

    The prediction is the profile's latency times the mean slow-down of the last ten frames.
    """

    def __init__(self, world: World) -> None:
        super().__init__(0)
        self._world = world
        self._idle_ms = {row.k: row.latency_ms or 0.0 for row in world.profile.points}
        self._last: deque[float] = deque(maxlen=10)

    def choose(self, now: float, deadline_ms: float, waited_ms: float, frame: int) -> int | None:
        slowdown = sum(self._last) / len(self._last) if self._last else 1.0
        fits = [k for k in self._allowed() if self._idle_ms[k] * slowdown <= (deadline_ms - waited_ms) / 1.3]
        return fits[-1] if fits else self._world.ks[0]

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        self._last.append(latency_ms / self._idle_ms[k])

    def _allowed(self) -> tuple[int, ...]:
        return self._world.ks


class StepWise(Margin):
    """Linux' thermal governor step_wise on top of deadline / 1.3: each second one k down above the target, else up."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._cap = len(world.ks)

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        temp_c = readings.get("temp_c")
        if temp_c is not None and self._world.target_c is not None:
            step = -1 if temp_c >= self._world.target_c else 1
            self._cap = min(max(self._cap + step, 1), len(self._world.ks))

    def _allowed(self) -> tuple[int, ...]:
        return self._world.ks[: self._cap]


class Ipa(Margin):
    """Linux' thermal governor power_allocator on top of deadline / 1.3.

    It allows the power P = P_sust + k_p * e + k_i * sum(e), at least 0. The error e is the target less the temperature.
    Below the target k_p is k_pu, above it half of that. k_i is k_pu / 10, and the sum grows only above the target.
    """

    _ON_C = 10.0  # kelvin from the switch-on temperature to the target; boards set both in their device trees

    def __init__(self, world: World) -> None:
        super().__init__(world)
        thermal = world.device.thermal
        self._allowed_w = math.inf
        self._sum = 0.0
        if thermal and world.target_c is not None:
            resistance = sum(stage.r_c_per_w for stage in thermal.stages)
            self._sustainable_w = (world.target_c - thermal.ambient_c) / resistance
            self._gain = 2 * self._sustainable_w / self._ON_C

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        temp_c, target_c = readings.get("temp_c"), self._world.target_c
        if temp_c is None or target_c is None:
            return
        error = target_c - temp_c
        if error > self._ON_C:
            self._allowed_w, self._sum = math.inf, 0.0
            return
        self._sum = min(0.0, self._sum + error) if error < 0 else self._sum
        gain = self._gain if error > 0 else self._gain / 2
        self._allowed_w = max(0.0, self._sustainable_w + gain * error + self._gain / 10 * self._sum)

    def _allowed(self) -> tuple[int, ...]:
        world = self._world
        slowdown = sum(self._last) / len(self._last) if self._last else 1.0
        fits = [
            k
            for k, power in zip(world.ks, world.power_w.tolist(), strict=True)
            if world.idle_w + (power - world.idle_w) * min(1.0, self._idle_ms[k] * slowdown / 1000 / world.period_s)
            <= self._allowed_w
        ]
        return tuple(fits) or world.ks[:1]


_MAKERS: dict[str, Callable[[World], Policy]] = {
    "governor": lambda world: GovernorPolicy(world.governor()),
    "oracle": lambda world: Planned(plan(world)),
    "alert": lambda world: Alert(world, AlertConstants()),
    "alert-tuned": lambda world: Alert(world, TUNED),
    "mean-20": Mean20,
    "deadline-1.3": Margin,
    "step-wise": StepWise,
    "ipa": Ipa,
}
NAMES = ("governor", "oracle", "static-oracle", *list(_MAKERS)[2:])
"""Of the policies, apart from the fixed ones: those follow from the ks."""


def names(world: World) -> tuple[str, ...]:
    """The names of all policies that can drive this world."""
    return (*NAMES, *(f"fixed-{k}" for k in world.ks))


def run(world: World, chosen: tuple[str, ...]) -> dict[str, Outcome]:
    """Simulate each chosen policy; its outcome by name. Raises SettingError for an unknown name."""
    known = names(world)
    for name in chosen:
        if name not in known:
            raise SettingError(f"the policy {name!r} is unknown: {suggestion(name, known)}")
    outcomes: dict[str, Outcome] = {}
    for name in chosen:
        if name in _MAKERS:
            outcomes[name] = simulate(world, _MAKERS[name](world), name)
        elif name != "static-oracle":
            outcomes[name] = simulate(world, Fixed(int(name.removeprefix("fixed-"))), name)
    if "static-oracle" in chosen:
        fixed = [outcomes.get(f"fixed-{k}") or simulate(world, Fixed(k), f"fixed-{k}") for k in world.ks]
        outcomes["static-oracle"] = best_fixed(world, fixed)
    return {name: outcomes[name] for name in chosen}


def best_fixed(world: World, outcomes: list[Outcome]) -> Outcome:
    """`static-oracle`: the most accurate outcome with a fixed k that keeps the goals, or that misses them least."""

    def key(outcome: Outcome) -> tuple[float, float, float]:
        heat = max(0.0, outcome.over_target_c - OVER_TARGET_C) if world.target_c is not None else 0.0
        until = world.goals.until_h
        early = max(0.0, (1 - ENDS_EARLY) * until - (outcome.battery_end_h or 0.0)) if until else 0.0
        return -round(heat, 3), -round(early, 3), outcome.accuracy

    return replace(max(outcomes, key=key), policy="static-oracle")
