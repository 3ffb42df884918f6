"""Measure what half and twice of each governor parameter do, and estimate the index of the latency tail."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hydrart.governor.latency import LatencyModel
from hydrart.governor.parameters import DEFAULTS, Parameters, described
from hydrart.governor.points import Jitter, OperatingPoint
from hydrart.lab.simulate import GovernorPolicy, World, simulate
from hydrart.lab.trace import Floats, Trace

FACTORS = {"half": 0.5, "twice": 2.0}


@dataclass(frozen=True)
class Figures:
    """Means over runs: late frames and accuracy, as shares of all frames; kelvin seconds above the target."""

    late: float
    accuracy: float
    over_target_c_s: float

    def minus(self, other: "Figures") -> "Figures":
        """The difference from other figures."""
        return Figures(
            self.late - other.late,
            self.accuracy - other.accuracy,
            self.over_target_c_s - other.over_target_c_s,
        )


def mean(figures: Sequence[Figures]) -> Figures:
    """The mean over runs."""
    return Figures(*np.mean([[f.late, f.accuracy, f.over_target_c_s] for f in figures], axis=0).tolist())


def scaled(name: str, factor: float, parameters: Parameters = DEFAULTS) -> Parameters:
    """Multiply one parameter, such as "window", by the factor. A whole number stays whole."""
    value = getattr(parameters, name)
    times: Any = max(1, math.floor(value * factor + 0.5)) if isinstance(value, int) else value * factor
    return replace(parameters, **{name: times})


def variants() -> list[tuple[str, str]]:
    """Every parameter with every factor's name."""
    return [(name, factor) for name in described(DEFAULTS) for factor in FACTORS]


def run(world: World, parameters: Parameters) -> Figures:
    """Run the governor with these parameters in a world."""
    outcome = simulate(world, GovernorPolicy(world.governor(parameters)), "governor")
    return Figures(outcome.miss_rate, outcome.accuracy, outcome.over_target_c_s)


def run_all(world: World, names: Iterable[tuple[str, str]]) -> tuple[Figures, list[Figures]]:
    """Run the governor with its defaults, and with each variant of a parameter."""
    return run(world, DEFAULTS), [run(world, scaled(name, FACTORS[factor])) for name, factor in names]


def latency_errors(trace: Trace, ks: Sequence[int]) -> Floats:
    """The errors of the governor's latency model on a trace's slow-downs, as logarithms, one k at a time.

    Returns float64 [len(ks) * rows of the trace], ascending.
    """
    times = trace.columns["t_s"]
    errors = []
    for k, slowdowns in zip(ks, trace.slowdowns(times, ks).T, strict=True):
        model = LatencyModel([OperatingPoint(k, 1.0, latency_ms=1.0)], Jitter(), DEFAULTS)
        for now, slowdown in zip(times.tolist(), slowdowns.tolist(), strict=True):
            errors.append(math.log(slowdown) - model.log_expected(k))
            model.observe(now, k, slowdown)
    return np.sort(errors)


def hill_index(errors: Floats, share: float) -> float:
    """Hill's estimate of the Pareto index, from the given share of the largest errors.

    errors: float64, logarithms, ascending.

    B. M. Hill, "A simple general approach to inference about the tail of a distribution", Annals of Statistics 3, 1975.
    """
    count = max(1, int(share * len(errors)))
    return float(1 / np.mean(errors[-count:] - errors[-count - 1]))
