"""What becomes of a source while a stream runs, told as events."""

from dataclasses import dataclass
from typing import Any

STATES = ("opening", "running", "stalled", "reconnecting", "ended")


@dataclass(frozen=True)
class Event:
    """A change of state.

    state: opening, running (a frame came), stalled (none comes), reconnecting (the source is lost and opened again
    after a pause) or ended; reason: for people; t_mono: time.monotonic(), t_wall: time.time() then.
    """

    state: str
    reason: str
    t_mono: float
    t_wall: float

    def as_dict(self) -> dict[str, Any]:
        """The event as it stands in a log."""
        return {
            "state": self.state,
            "reason": self.reason,
            "t_mono": round(self.t_mono, 6),
            "t_wall": round(self.t_wall, 6),
        }
