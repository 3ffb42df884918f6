"""One thread or all: whichever is faster now, for one k and batch.

Two threads on two free cores are nearly twice as fast; where another program takes one of the cores, they wait for
each other, and one thread may be faster. Both are tried in turn, the slower one seldom.
"""

from collections import deque
from statistics import median

RECENT = 5  # calls of each way that count
TRIAL = 2  # calls in one trial of the other way
FIRST, LONGEST = 16, 256  # calls between trials; each that fails doubles the distance
NARROW = 1.1  # a call so much slower than one thread is a reason to try that at once


class Pace:
    """Chooses for each call; took() tells how long it ran, in seconds."""

    def __init__(self, threads: int) -> None:
        self._ways = (threads, 1)
        self._recent = (deque[float](maxlen=RECENT), deque[float](maxlen=RECENT))
        self._now = 0  # index of the way that is in use
        self._trial = 0  # calls left in a trial of the other
        self._until = 2  # calls until the next trial
        self._distance = FIRST

    def threads(self) -> int:
        """How many the next call takes."""
        return self._ways[self._way()]

    def took(self, seconds: float) -> None:
        """The call that threads() was asked for is over."""
        way = self._way()
        self._recent[way].append(seconds)
        if self._trial:
            self._trial -= 1
            if not self._trial:
                self._judge()
            return
        self._until -= 1
        other = self._recent[1 - way]
        if other and seconds > NARROW * median(other):
            self._until = min(self._until, 1)
        if self._until <= 0:
            self._trial = TRIAL
            self._recent[1 - way].clear()

    def _way(self) -> int:
        return 1 - self._now if self._trial else self._now

    def _judge(self) -> None:
        if min(self._recent[1 - self._now]) < median(self._recent[self._now]):
            self._now = 1 - self._now
            self._distance = FIRST
        else:
            self._distance = min(2 * self._distance, LONGEST)
        self._until = self._distance
