"""Times of calls. What is compared takes turns, so that whatever slows the machine down for a while hits all alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

PAUSE_S = 0.03  # before each turn: other runtimes' threads spin for a while after a call
WARM_S = 0.01  # calls that are not timed at the start of a turn; at least one
CALLS, SHORT_S, LONG_S = 3, 0.02, 0.5  # timed in a turn: so many and so long at least, but no more after so long
MAX_ROUNDS = 30

Call = Callable[[], object]
Seconds = list[list[float]]
"""Of the timed calls, by turn."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call: median, 95th percentile, least; and how many calls were timed."""

    p50_ms: float
    p95_ms: float
    min_ms: float
    calls: int

    @classmethod
    def of(cls, turns: Seconds) -> "Times":
        ms = np.concatenate(turns) * 1e3
        return cls(float(np.median(ms)), float(np.percentile(ms, 95)), float(ms.min()), ms.size)


def ratio(turns: Seconds, reference: Seconds) -> float:
    """How many times as long as the reference; the median over the rounds, each turn being its median."""
    return median(median(a) / median(b) for a, b in zip(turns, reference, strict=True))


def interleave(
    calls: Mapping[str, Call], budget_s: float, rounds: int | None = None, least: int = 3
) -> dict[str, Seconds]:
    """Let all take turns, each first in turn, for as many rounds as were asked for.

    rounds: None for what fits into the budget for each of them, from `least` to MAX_ROUNDS.
    """
    names = list(calls)
    turns: dict[str, Seconds] = {name: [] for name in names}
    until = time.perf_counter() + budget_s * len(names)
    done = 0
    while done < (rounds or least) or (rounds is None and done < MAX_ROUNDS and time.perf_counter() < until):
        for i in range(len(names)):
            name = names[(done + i) % len(names)]
            turns[name].append(_turn(calls[name]))
        done += 1
    return turns


def timed(call: Call) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _turn(call: Call) -> list[float]:
    time.sleep(PAUSE_S)
    warm = timed(call)
    while warm < WARM_S:
        warm += timed(call)
    times = [timed(call)]
    while sum(times) < (LONG_S if len(times) < CALLS else SHORT_S):
        times.append(timed(call))
    return times
