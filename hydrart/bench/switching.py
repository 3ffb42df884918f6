"""What a switch of k costs: the first call after it, against those that follow with the same k."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from hydrart.bench.timing import timed

STEADY = 2  # calls after the first, whose median is the steady state
LEAST = 3  # switches to each k


@dataclass(frozen=True)
class Switching:
    """first_p50, first_p95: the first call after a switch, as a multiple of the steady state; by_k: medians by the k
    that was switched to; switches: how many were made. None and empty where there is but one k."""

    switches: int
    first_p50: float | None
    first_p95: float | None
    by_k: dict[int, float]


def measure(call: Callable[[int], object], ks: Sequence[int], budget_s: float) -> Switching:
    """Switch at random, but to each k equally often, within about that time; call(k) runs the network."""
    if len(ks) < 2:
        return Switching(0, None, None, {})
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
    return Switching(
        len(every),
        median(every),
        float(np.percentile(every, 95)),
        {k: median(of_k) for k, of_k in ratios.items()},
    )
