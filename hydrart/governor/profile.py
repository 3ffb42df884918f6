"""The table a governor chooses from. It knows nothing of networks."""

from dataclasses import dataclass

from hydrart.errors import SettingError


@dataclass(frozen=True)
class ProfileRow:
    """What one k costs and gives.

    work: any measure that grows with the latency (multiply-accumulates), to guess the latency of a k that has not
    run yet; accuracy: top-1, 0 to 1; latency_ms: idle and cool; power_w: while running. None where unknown.
    """

    k: int
    work: float
    accuracy: float | None = None
    latency_ms: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Profile:
    """One row per k, ascending."""

    rows: tuple[ProfileRow, ...]

    def between(self, min_k: int | None, max_k: int | None) -> tuple[ProfileRow, ...]:
        """The rows from min_k to max_k. Raises SettingError where there is none."""
        low, high = min_k or 0, self.rows[-1].k if max_k is None else max_k
        rows = tuple(row for row in self.rows if low <= row.k <= high)
        if not rows:
            ks = ", ".join(str(row.k) for row in self.rows)
            raise SettingError(f"no trained k lies between {low} and {high}: choose from {ks}")
        return rows
