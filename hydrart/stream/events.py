"""Events: changes of the state of a source while a stream runs."""

from dataclasses import dataclass
from typing import Any

STATES = ("opening", "running", "stalled", "reconnecting", "ended")


@dataclass(frozen=True)
class Event:
    """A change of the state of a source."""

    state: str
    """`opening`, `running` (a frame came), `stalled` (no frame comes), `reconnecting` (the source is lost, and opens
    again after a pause) or `ended`."""
    reason: str
    """The cause of the change, for people."""
    t_mono: float
    """time.monotonic() at the change, in seconds."""
    t_wall: float
    """time.time() at the change, in seconds."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON line of the event."""
        return {
            "state": self.state,
            "reason": self.reason,
            "t_mono": round(self.t_mono, 6),
            "t_wall": round(self.t_wall, 6),
        }
