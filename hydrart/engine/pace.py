"""One thread or all: whichever is faster now, for one k and batch.

Two threads on two free cores are nearly twice as fast; for small networks, or where another program holds one of the
cores, one thread may be faster. While all threads do as well as expected, one is never tried: a camera would miss
its deadline for it.
"""

from collections import deque
from statistics import median, median_low

START = (0, 0, 1, 1)  # the first calls: all threads, and one, the first of each being slow
RECENT = 5  # calls that count
TRIAL = 3  # calls of a trial
FIRST, LONGEST = 16, 128  # calls of one thread between trials of all; each that fails doubles the distance


class Pace:
    """Chooses for each call; took() tells how long it ran, in seconds."""

    def __init__(self, threads: int) -> None:
        self._ways = (threads, 1)
        self._recent = (deque[float](maxlen=RECENT), deque[float](maxlen=RECENT))
        self._plan = list(START)  # ways of the calls to come, until they are judged
        self._now = 0
        self._wait = self._distance = FIRST

    def threads(self) -> int:
        """How many the next call takes."""
        return self._ways[self._plan[0] if self._plan else self._now]

    def took(self, seconds: float) -> None:
        """The call that threads() was asked for is over."""
        if self._plan:
            way = self._plan.pop(0)
            self._recent[way].append(seconds)
            if not self._plan:
                self._judge(way)
            return
        self._recent[self._now].append(seconds)
        if self._now == 1:
            self._wait -= 1
            if self._wait <= 0:
                self._try(0)
        elif len(self._recent[0]) >= TRIAL and median(self._recent[0]) > min(self._recent[1]):
            self._try(1)

    def _try(self, way: int) -> None:
        self._recent[way].clear()
        self._plan = [way] * TRIAL

    def _judge(self, tried: int) -> None:
        """The best call of the trial, whose first are slow, against what was usual lately."""
        faster = min(self._recent[tried]) < median_low(self._recent[1 - tried])
        way = tried if faster else 1 - tried
        self._distance = min(2 * self._distance, LONGEST) if way == self._now == 1 else FIRST
        self._wait = self._distance
        if way == 0:  # slow calls have been judged
            self._recent[0].clear()
        self._now = way
