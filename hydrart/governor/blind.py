"""Find goals that cannot act: their reading is missing, or only one k may run."""

import logging
import math
from collections.abc import Iterable

from hydrart.readings import READINGS

_log = logging.getLogger("hydrart.governor")
_PATIENCE_S = 3.0  # grace time in seconds; sensors are read once a second, and a reading may fail

NEEDED = {"max_temp_c": "temp_c", "until_h": "battery"}  # goal -> the reading that it needs
# goal -> its option, and advice on a missing reading
_HELP = {
    "max_temp_c": ("--max-temp", "see what `hydrart devices --here` finds, or pass temp_c to observe()"),
    "until_h": ("--until", "give --battery-cmd or a callback, or pass battery to observe()"),
}


class WatchedGoals:
    """The user's goals, and the times of their last readings.

    names: the active goals, out of max_temp_c and until_h.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self._heard: dict[str, float] = {}
        self._started_at: float | None = None
        self._next_at = -math.inf
        self._told: set[str] = set()

    def set(self, name: str, wanted: bool) -> None:
        """Add or remove a goal."""
        self.names = self.names | {name} if wanted else self.names - {name}

    def hear(self, now: float, readings: Iterable[str]) -> None:
        """Note readings of these names at `now`, in seconds."""
        self._heard.update(dict.fromkeys(readings, now))

    def blind(self, now: float, only: int | None) -> dict[str, str]:
        """Return the goals that cannot act, each with the reason as a sentence. only: the fixed k, or None."""
        found = {}
        for goal in sorted(self.names):
            (option, advice), row = _HELP[goal], READINGS[NEEDED[goal]]
            if only is not None:
                found[goal] = f"the goal {goal} ({option}) cannot act, because only k={only} may run: allow several"
            elif now - self._heard.get(NEEDED[goal], -math.inf) > row.fresh_s:
                found[goal] = f"the goal {goal} ({option}) cannot act, because no {row.title} is known: {advice}"
        return found

    def review(self, now: float, only: int | None) -> None:
        """Call report() at most once a second, after the first 3 s."""
        if self._started_at is None:
            self._started_at = now
        if self.names and now - self._started_at >= _PATIENCE_S and now >= self._next_at:
            self._next_at = now + 1
            self.report(now, only)

    def report(self, now: float, only: int | None) -> None:
        """Log one warning for each goal that cannot act."""
        for goal, sentence in self.blind(now, only).items():
            if goal not in self._told:
                self._told.add(goal)
                _log.warning("%s", sentence)
