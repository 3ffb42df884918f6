"""One thread or all: whichever is faster now, for one k and batch, and after a pause or not.

Two threads on two free cores are nearly twice as fast; for small networks, or where another program holds one of the
cores, one thread may be faster. While all threads do as well as expected, one is never tried: a camera would miss
its deadline for it.
"""

from collections import deque
from statistics import median, median_low

# what counts, and what a trial takes: so many calls and so many seconds, since a core that slept takes a few
# milliseconds to take part
RECENT, RECENT_S = 5, 0.01
TRIAL, TRIAL_S = 3, 0.005
FIRST, LONGEST = 16, 128  # calls of one thread between trials of all; each that fails doubles the distance


class Pace:
    """Chooses for each call; took() tells how long it ran, in seconds."""

    def __init__(self, threads: int) -> None:
        self._ways = (threads, 1)
        self._recent = (deque[float](), deque[float]())
        self._trials = [0, 1]  # ways to try, before the last of them is judged
        self._calls, self._seconds = 0, 0.0  # of the trial
        self._now = 0
        self._wait = self._distance = FIRST

    def threads(self) -> int:
        """How many the next call takes."""
        return self._ways[self._trials[0] if self._trials else self._now]

    def took(self, seconds: float) -> None:
        """The call that threads() was asked for is over."""
        way = self._trials[0] if self._trials else self._now
        recent = self._recent[way]
        recent.append(seconds)
        while len(recent) > RECENT and sum(recent) - recent[0] > RECENT_S:
            recent.popleft()
        if self._trials:
            self._calls, self._seconds = self._calls + 1, self._seconds + seconds
            if self._calls >= TRIAL and self._seconds >= TRIAL_S:
                self._calls, self._seconds = 0, 0.0
                self._trials.pop(0)
                if not self._trials:
                    self._judge(way)
        elif way == 1:
            self._wait -= 1
            if self._wait <= 0:
                self._try(0)
        elif len(recent) >= TRIAL and median(recent) > min(self._recent[1]):
            self._try(1)

    def _try(self, way: int) -> None:
        self._recent[way].clear()
        self._trials = [way]

    def _judge(self, tried: int) -> None:
        """The best call of the trial, whose first are slow, against what was usual lately."""
        faster = min(self._recent[tried]) < median_low(self._recent[1 - tried])
        way = tried if faster else 1 - tried
        self._distance = min(2 * self._distance, LONGEST) if way == self._now == 1 else FIRST
        self._wait = self._distance
        if way == 0:  # slow calls have been judged
            self._recent[0].clear()
        self._now = way
