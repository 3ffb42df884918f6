"""Find goals that cannot act: their reading is missing, or only one k may run."""

import logging
import math
from collections.abc import Iterable

from hydrart.readings import READINGS

_log = logging.getLogger("hydrart.governor")
_PATIENCE_S = 3  # a sensor is read once a second, and a reading may fail

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
        self._reviewed_at: float | None = None
        self._seconds: dict[str, int] = {}  # goal -> how long it has been blind
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
        """Log a goal once it is certain that it cannot act. Call it with every observation.

        A reading that never came is missing when it could not be fresh any more: after 10 s for the temperature, 60 s
        for the battery. One that came before is lost after 3 s. A second without a call does not count, because the
        reading may come with the next call.
        """
        if self._reviewed_at is None:
            self._reviewed_at = now
        if now < self._reviewed_at + 1:
            return
        blind, seconds_before = self.blind(now, only), self._seconds
        came = {goal for goal in blind if self._heard.get(NEEDED[goal], -math.inf) >= self._reviewed_at}
        self._reviewed_at = now
        self._seconds = {
            goal: 1 if only is None and goal in came else seconds_before.get(goal, 0) + 1 for goal in blind
        }
        for goal, seconds in self._seconds.items():
            known = only is not None or NEEDED[goal] in self._heard
            if seconds >= (_PATIENCE_S if known else READINGS[NEEDED[goal]].fresh_s):
                self._tell(goal, blind[goal])

    def report(self, now: float, only: int | None) -> None:
        """Log one warning for each goal that cannot act now."""
        for goal, sentence in self.blind(now, only).items():
            self._tell(goal, sentence)

    def _tell(self, goal: str, sentence: str) -> None:
        if goal not in self._told:
            self._told.add(goal)
            _log.warning("%s", sentence)
