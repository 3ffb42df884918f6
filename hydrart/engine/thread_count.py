"""Choose whether a call uses one thread or all threads, whichever is faster now.

Two threads on two free cores are nearly twice as fast as one. One thread may be faster for small networks, or where
another program holds one of the cores. While all threads are as fast as expected, one thread is never tried, because a
camera's frame would be late for the trial.
"""

from collections import deque

RECENT, RECENT_S = 5, 0.03  # the last calls count: at least so many, and at least so many seconds of them
# A trial has at least so many calls and seconds. They come after WARM_S, because a core that slept needs a few
# milliseconds to take part. The mean of the calls decides. The fastest call says nothing: where another program uses
# the core, every second call may be fast while the others wait.
WARM_S = 0.005
TRIAL, TRIAL_S = 2, 0.01
FIRST, LONGEST = 16, 128  # one-thread calls between trials of all threads; each failed trial doubles their number
CALL_S = 0.004  # a shorter call counts as this long, so that trials of short calls are not too frequent


class ThreadCount:
    """Choose the number of threads of each call, for one k and batch.

    threads() gives the number for the next call, and took() then takes the duration of that call.
    """

    def __init__(self, threads: int) -> None:
        self._ways = (threads, 1)
        self._recent = (deque[float](), deque[float]())
        self._trials = [0, 1]  # ways to try; the last of them is then judged
        self._tried_s = 0.0
        self._now = 0
        self._distance = FIRST
        self._left, self._left_s = FIRST, FIRST * CALL_S  # one-thread calls and seconds before the next trial

    def threads(self) -> int:
        """Number of threads of the next call: 1 or all."""
        return self._ways[self._trials[0] if self._trials else self._now]

    def took(self, seconds: float) -> None:
        """Note the duration of the call that threads() was asked for."""
        if self._trials:
            self._try_on(seconds)
            return
        recent = self._recent[self._now]
        recent.append(seconds)
        while len(recent) > RECENT and sum(recent) - recent[0] > RECENT_S:
            recent.popleft()
        if self._now == 1:
            self._left, self._left_s = self._left - 1, self._left_s - seconds
            if self._left <= 0 and self._left_s <= 0:
                self._try(0)
        elif len(recent) > TRIAL and _usual(recent) > min(self._recent[1]):
            self._try(1)

    def _try(self, way: int) -> None:
        self._recent[way].clear()
        self._trials = [way]

    def _try_on(self, seconds: float) -> None:
        way = self._trials[0]
        recent, warm = self._recent[way], self._tried_s >= WARM_S
        self._tried_s += seconds
        if warm:
            recent.append(seconds)
        if len(recent) < TRIAL or sum(recent) < TRIAL_S:
            return
        self._tried_s = 0.0
        self._trials.pop(0)
        if not self._trials:
            self._judge(way)

    def _judge(self, tried: int) -> None:
        """Compare the trial, without its first calls, with the usual duration of the other way."""
        faster = _mean(self._recent[tried]) < _usual(self._recent[1 - tried])
        way = tried if faster else 1 - tried
        self._distance = min(2 * self._distance, LONGEST) if way == self._now == 1 else FIRST
        self._left, self._left_s = self._distance, self._distance * CALL_S
        if way == 0:  # the slow calls are judged now
            self._recent[0].clear()
        self._now = way


def _mean(seconds: deque[float]) -> float:
    return sum(seconds) / len(seconds)


def _usual(seconds: deque[float]) -> float:
    """The mean without the longest call, because a single call may be slow for any reason."""
    return (sum(seconds) - max(seconds)) / (len(seconds) - 1)
