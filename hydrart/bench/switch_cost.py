"""Measure the cost of switching k: the first call after a switch over the later calls with the same k."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from hydrart.bench.timing import timed

STEADY = 2  # number of calls after the first; their median is the steady state
LEAST = 3  # least number of switches to each k


@dataclass(frozen=True)
class SwitchCost:
    """The cost of a switch.

    - switches: number of switches.
    - first_p50, first_p95: time of the first call after a switch over the steady state; None with a single k.
    - by_k: the new k -> the median of that ratio; empty with a single k.
    """

    switches: int
    first_p50: float | None
    first_p95: float | None
    by_k: dict[int, float]


def measure(call: Callable[[int], object], ks: Sequence[int], budget_s: float) -> SwitchCost:
    """Switch at random, to each k equally often, for about budget_s seconds. call(k) runs the network once."""
    if len(ks) < 2:
        return SwitchCost(0, None, None, {})
    rng = random.Random(0)
    ratios: dict[int, list[float]] = {k: [] for k in ks}
    until = time.perf_counter() + budget_s
    k = ks[0]
    call(k)
    while len(ratios[k]) < LEAST or time.perf_counter() < until:
        order = rng.sample(ks, len(ks))
        if order[0] == k:
            order.append(order.pop(0))
        for k in order:
            first, *steady = (timed(lambda k=k: call(k)) for _ in range(1 + STEADY))  # type: ignore[misc]
            ratios[k].append(first / median(steady))
    every = [ratio for of_k in ratios.values() for ratio in of_k]
    return SwitchCost(
        len(every),
        median(every),
        float(np.percentile(every, 95)),
        {k: median(of_k) for k, of_k in ratios.items()},
    )
