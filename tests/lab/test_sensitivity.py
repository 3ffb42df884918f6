"""What half and twice of a parameter do, and how heavy a tail is."""

from dataclasses import replace

import numpy as np
import pytest

from hydrart.governor.parameters import DEFAULTS, described
from hydrart.governor.points import Jitter
from hydrart.lab.sensitivity import Figures, hill_index, latency_errors, mean, run, run_all, scaled, variants
from tests.support.worlds import BOARD, trace, world


@pytest.mark.parametrize("name", described(DEFAULTS))
def test_one_parameter_is_scaled_and_no_other(name: str) -> None:
    half, twice = (described(scaled(name, factor)) for factor in (0.5, 2.0))
    for made in (half, twice):
        assert [other for other in made if made[other] != described(DEFAULTS)[other]] == [name]
    value = described(DEFAULTS)[name][0]
    assert type(half[name][0]) is type(value)


def test_scaled_values() -> None:
    assert scaled("window", 0.5).window == 400
    assert scaled("patience", 0.5).patience == 3, "whole, rounded up"
    assert scaled("miss_price", 2.0).miss_price == 1.0
    assert scaled("patience", 0.01).patience == 1, "not below 1"


def test_every_parameter_has_both_variants() -> None:
    assert len(variants()) == 2 * len(described(DEFAULTS)) == len(set(variants()))


def test_a_higher_price_of_late_frames_brings_fewer() -> None:
    device = replace(BOARD, jitter=Jitter(0.15, 0.02, 2.0))
    of = world(device, trace(t_s=[0, 30, 60], slowdown=[1, 1.5, 1]), 90, fps=15)
    base, (cheap, dear) = run_all(of, [("miss_price", "half"), ("miss_price", "twice")])
    assert base == run(of, DEFAULTS), "equal worlds give equal figures"
    assert dear.late <= base.late <= cheap.late and dear.late < cheap.late


def test_means_and_changes() -> None:
    middle = mean([Figures(0.25, 0.75, 0.0), Figures(0.75, 0.25, 4.0)])
    assert middle == Figures(0.5, 0.5, 2.0)
    assert middle.minus(Figures(0.25, 0.5, 3.0)) == Figures(0.25, 0.0, -1.0)


@pytest.mark.parametrize("index", [2.0, 5.0])
def test_the_index_of_a_tail_is_found(index: float) -> None:
    errors = np.sort(np.log1p(np.random.default_rng(1).pareto(index, 100_000)))
    assert hill_index(errors, 0.05) == pytest.approx(index, rel=0.05)


def test_errors_are_those_of_the_next_prediction() -> None:
    what = trace(t_s=[0, 1, 2, 3], slowdown=[1.0, 1.0, 4.0, 4.0])
    errors = latency_errors(what, (3, 4))
    assert errors.shape == (8,) and errors[-1] == pytest.approx(np.log(4), abs=0.01), "nothing announced the step"
