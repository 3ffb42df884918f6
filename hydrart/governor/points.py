"""The operating points that a governor chooses from, and what is known of the device. Nothing here knows networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hydrart.errors import SettingError


@dataclass(frozen=True)
class OperatingPoint:
    """What one k costs and gives. None where it is unknown.

    work: any measure that grows with the latency, such as multiply-accumulates; it scales the latency of a k that has
    not run yet. accuracy: top-1, 0 to 1. latency_ms: of an idle, cool device. power_w: of the whole device while k
    runs.
    """

    k: int
    work: float
    accuracy: float | None = None
    latency_ms: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Jitter:
    """How latency scatters around its median on an idle device.

    sigma: standard deviation of the latency's logarithm. tail_p: share of frames that take at least tail_x times as
    long. The defaults stand for a device without a profile; they are assumptions, like the figures in most profiles.
    """

    sigma: float = 0.05
    tail_p: float = 0.005
    tail_x: float = 1.5


@dataclass(frozen=True)
class Stage:
    """One first-order lag from power to temperature: kelvin per watt, and its time constant in seconds."""

    r_c_per_w: float
    tau_s: float


@dataclass(frozen=True)
class Thermal:
    """T = ambient_c + the sum of the stages; from throttle_c on, everything takes throttle_x times as long."""

    ambient_c: float
    stages: tuple[Stage, ...]
    throttle_c: float | None = None
    throttle_x: float = 1.0


@dataclass(frozen=True)
class Profile:
    """One operating point per k, ascending; idle_w: power at rest; capacity_wh: of the battery. None where unknown."""

    points: tuple[OperatingPoint, ...]
    idle_w: float | None = None
    jitter: Jitter = field(default_factory=Jitter)
    thermal: Thermal | None = None
    capacity_wh: float | None = None

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
