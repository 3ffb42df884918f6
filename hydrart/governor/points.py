"""The operating points that a governor chooses from, and what is known of the device. Nothing here knows networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hydrart.errors import SettingError


@dataclass(frozen=True)
class OperatingPoint:
    """What one k costs and gives. None stands for what is unknown."""

    k: int
    """The number of heads."""
    work: float
    """Any measure that grows with the latency, such as multiply-accumulates. It scales the latency of a k that has not
    run yet."""
    accuracy: float | None = None
    """Top-1, 0 to 1."""
    latency_ms: float | None = None
    """Of an idle, cool device, in milliseconds."""
    power_w: float | None = None
    """Of the whole device while k runs, in watts."""


@dataclass(frozen=True)
class Jitter:
    """How latency scatters around its median on an idle device.

    The defaults stand for a device without a profile. They are assumptions, like the figures in most profiles.
    """

    sigma: float = 0.05
    """Standard deviation of the latency's logarithm."""
    tail_p: float = 0.005
    """Share of frames that take at least tail_x times as long."""
    tail_x: float = 1.5
    """The factor from which the tail begins."""


@dataclass(frozen=True)
class Stage:
    """One first-order lag from power to temperature."""

    r_c_per_w: float
    """Kelvin per watt, when it has settled."""
    tau_s: float
    """Time constant, in seconds."""


@dataclass(frozen=True)
class Thermal:
    """The temperature is ambient_c and the sum of what the stages add."""

    ambient_c: float
    """Of the air around the device, in degrees Celsius."""
    stages: tuple[Stage, ...]
    """In the order of their time constants."""
    throttle_c: float | None = None
    """From here on the device throttles, in degrees Celsius; None: it does not."""
    throttle_x: float = 1.0
    """How many times as long everything then takes."""


@dataclass(frozen=True)
class Profile:
    """What a governor chooses from, and what is known of the device. None stands for what is unknown."""

    points: tuple[OperatingPoint, ...]
    """One for each k, ascending."""
    idle_w: float | None = None
    """Power of the whole device at rest, in watts."""
    jitter: Jitter = field(default_factory=Jitter)
    """How latency scatters."""
    thermal: Thermal | None = None
    """How the device warms up."""
    capacity_wh: float | None = None
    """Energy of the full battery, in watt-hours."""

    def measured(self, latency_ms: Mapping[int, float]) -> "Profile":
        """The same with latencies, k -> milliseconds, that were measured here."""
        points = tuple(replace(point, latency_ms=latency_ms.get(point.k, point.latency_ms)) for point in self.points)
        return replace(self, points=points)

    def between(self, min_k: int | None, max_k: int | None) -> tuple[OperatingPoint, ...]:
        """The points from min_k to max_k. Raises SettingError where there is none."""
        low, high = min_k or 0, self.points[-1].k if max_k is None else max_k
        points = tuple(point for point in self.points if low <= point.k <= high)
        if not points:
            ks = ", ".join(str(point.k) for point in self.points)
            raise SettingError(f"no trained k lies between {low} and {high}: choose from {ks}")
        return points


def interpolate(table: dict[int, float], k: int) -> float | None:
    """The value at k on straight lines through the table, level beyond its ends; None where it is empty."""
    if k in table or not table:
        return table.get(k)
    below, above = [j for j in table if j < k], [j for j in table if j > k]
    if not below or not above:
        return table[min(above)] if above else table[max(below)]
    low, high = max(below), min(above)
    return table[low] + (table[high] - table[low]) * (k - low) / (high - low)
