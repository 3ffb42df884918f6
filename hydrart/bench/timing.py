"""Time calls. Contestants take turns, so that a slow phase of the machine hits all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

PAUSE_S = 0.03  # sleep before each turn, because the threads of other runtimes spin for a while after a call
UNTIMED_S = 0.01  # time of the untimed calls, at least one, at the start of a turn
# A turn times at least CALLS calls and lasts at least SHORT_S seconds. After LONG_S seconds it ends with fewer calls.
CALLS, SHORT_S, LONG_S = 3, 0.02, 0.5
MAX_ROUNDS = 30

Call = Callable[[], object]
Seconds = list[list[float]]
"""Seconds of each timed call: a list per turn."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call: median, 95th percentile, minimum. calls: number of timed calls."""

    p50_ms: float
    p95_ms: float
    min_ms: float
    calls: int

    @classmethod
    def of(cls, turns: Seconds) -> "Times":
        """Summarise the calls of all turns."""
        ms = np.concatenate(turns) * 1e3
        return cls(float(np.median(ms)), float(np.percentile(ms, 95)), float(ms.min()), ms.size)


def ratio(turns: Seconds, reference: Seconds) -> float:
    """Time over the reference's time. Each round gives the ratio of two medians; the result is their median."""
    return median(median(a) / median(b) for a, b in zip(turns, reference, strict=True))


def interleave(
    calls: Mapping[str, Call], budget_s: float, rounds: int | None = None, least: int = 3
) -> dict[str, Seconds]:
    """Time named calls in turns. Each round starts with another call.

    budget_s: seconds for each name. rounds: None for as many as fit into the budget, from `least` to MAX_ROUNDS.
    Returns the seconds of the timed calls by name.
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
    """Make the call and return its duration in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _turn(call: Call) -> list[float]:
    time.sleep(PAUSE_S)
    untimed = timed(call)
    while untimed < UNTIMED_S:
        untimed += timed(call)
    times = [timed(call)]
    while sum(times) < (LONG_S if len(times) < CALLS else SHORT_S):
        times.append(timed(call))
    return times
