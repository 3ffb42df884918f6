"""The operating points that a governor chooses from, and what is known of the device. Networks are unknown here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real

from hydrart.errors import SettingError


@dataclass(frozen=True)
class OperatingPoint:
    """Cost and accuracy of one k. None stands for an unknown value."""

    k: int
    """The number of heads."""
    work: float
    """Any measure that is proportional to the latency, such as multiply-accumulates. It scales the latency of a k that
    has not run yet."""
    accuracy: float | None = None
    """Top-1 accuracy, 0 to 1."""
    latency_ms: float | None = None
    """Latency on an idle, cool device, in milliseconds."""
    power_w: float | None = None
    """Power of the whole device while k runs, in watts."""


@dataclass(frozen=True)
class Jitter:
    """How latency scatters around its median on an idle device.

    The defaults stand for a device without a profile. They are assumptions, like the figures in most profiles.
    """

    sigma: float = 0.05
    """Standard deviation of the latency's logarithm."""
    tail_p: float = 0.005
    """Share of the frames that take at least tail_x times as long."""
    tail_x: float = 1.5
    """The factor at which the tail begins."""


@dataclass(frozen=True)
class Stage:
    """One first-order lag from power to temperature."""

    r_c_per_w: float
    """Thermal resistance: the steady rise of the temperature, in kelvin per watt."""
    tau_s: float
    """Time constant, in seconds."""


TYPICAL_STAGES = (Stage(3.0, 5.0), Stage(4.0, 60.0), Stage(5.0, 400.0))
"""The stages of a device without a profile: die, heat sink and case, by the order of magnitude of those in devices/.
They are assumptions."""


@dataclass(frozen=True)
class Thermal:
    """A thermal model: the temperature is ambient_c plus the rise of every stage."""

    ambient_c: float
    """Temperature of the air around the device, in degrees Celsius."""
    stages: tuple[Stage, ...]
    """The stages by ascending time constant."""
    throttle_c: float | None = None
    """Temperature at which the device throttles, in degrees Celsius; None: it does not throttle."""
    throttle_x: float = 1.0
    """The factor on every latency while the device throttles."""


@dataclass(frozen=True)
class Profile:
    """The points that a governor chooses from, and what is known of the device. None stands for an unknown value."""

    points: tuple[OperatingPoint, ...]
    """One point for each k, by ascending k."""
    idle_w: float | None = None
    """Power of the whole device at rest, in watts."""
    jitter: Jitter = field(default_factory=Jitter)
    """How latency scatters on the device."""
    thermal: Thermal | None = None
    """The thermal model of the device."""
    capacity_wh: float | None = None
    """Energy of the full battery, in watt-hours."""

    def measured(self, latency_ms: Mapping[int, float]) -> "Profile":
        """The profile with latencies that were measured on this machine: k -> milliseconds."""
        points = tuple(replace(point, latency_ms=latency_ms.get(point.k, point.latency_ms)) for point in self.points)
        return replace(self, points=points)

    def between(self, min_k: int | None, max_k: int | None) -> tuple[OperatingPoint, ...]:
        """The points from min_k to max_k, both included. None: no bound. Raises SettingError where none is left."""
        low, high = min_k or 0, self.points[-1].k if max_k is None else max_k
        points = tuple(point for point in self.points if low <= point.k <= high)
        if not points:
            ks = ", ".join(str(point.k) for point in self.points)
            raise SettingError(f"no trained k lies between {low} and {high}: choose from {ks}")
        return points


def is_number(value: object) -> bool:
    """Whether it is a finite number: callers in Python pass texts and None."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def interpolate(table: dict[int, float], k: int) -> float | None:
    """The value at k, interpolated linearly. Beyond the table's ends it is constant. None for an empty table."""
    if k in table or not table:
        return table.get(k)
    below, above = [j for j in table if j < k], [j for j in table if j > k]
    if not below or not above:
        return table[min(above)] if above else table[max(below)]
    low, high = max(below), min(above)
    return table[low] + (table[high] - table[low]) * (k - low) / (high - low)
