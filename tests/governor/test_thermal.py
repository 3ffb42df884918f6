"""The thermal model alone: made-up devices that it finds out, and readings that lie."""

import math
import random
from collections.abc import Callable

import pytest

from hydrart.governor.parameters import DEFAULTS
from hydrart.governor.points import Stage, Thermal
from hydrart.governor.thermal import ThermalModel

P = DEFAULTS
STAGES = (Stage(2.0, 4.0), Stage(6.0, 60.0))
KNOWN = Thermal(25.0, STAGES)


class Plant:
    """A device with these stages; update() runs the model beside it for some seconds."""

    def __init__(self, ambient_c: float = 30.0, stages: tuple[Stage, ...] = STAGES) -> None:
        self.ambient_c, self.stages = ambient_c, stages
        self.warmth = [0.0] * len(stages)
        self.rng = random.Random(1)

    @property
    def temp_c(self) -> float:
        return self.ambient_c + sum(self.warmth)

    def step(self, watts: float) -> float:
        for i, stage in enumerate(self.stages):
            self.warmth[i] += (stage.r_c_per_w * watts - self.warmth[i]) * -math.expm1(-1 / stage.tau_s)
        return self.temp_c

    def run(self, of: ThermalModel, seconds: int, watts: Callable[[int], float], noise_c: float = 0.1) -> None:
        for second in range(seconds):
            power = watts(second)
            of.update(1.0, power, self.step(power) + noise_c * self.rng.gauss(0, 1))


def square(second: int) -> float:
    """Power that teaches: 2 and 6 W in turn."""
    return 6.0 if second // 40 % 2 else 2.0


@pytest.mark.parametrize("known", [KNOWN, Thermal(25.0, (Stage(3.0, 4.0), Stage(4.0, 60.0))), None])
def test_what_is_allowed_ends_at_the_target(known: Thermal | None) -> None:
    """Also where the profile is off by half, and without one."""
    of, plant = ThermalModel(70.0, known, P), Plant()
    plant.run(of, 600, square)
    assert of.temp_c == pytest.approx(plant.temp_c, abs=0.5)
    hottest = 0.0
    for _ in range(900):
        watts = min(of.allowed(), 20.0)
        of.update(1.0, watts, plant.step(watts) + 0.1 * plant.rng.gauss(0, 1))
        hottest = max(hottest, plant.temp_c)
    assert 68 < plant.temp_c < 70.2 and hottest < 71


def test_nothing_is_known_before_two_readings_agree() -> None:
    of = ThermalModel(70.0, KNOWN, P)
    assert of.temp_c is None and of.allowed() == math.inf
    of.update(1.0, 3.0, 140.0)
    assert of.temp_c is None and of.allowed() == math.inf
    of.update(1.0, 3.0, 40.0)
    assert of.temp_c is None, "one of the two lies"
    of.update(1.0, 3.0, 41.0)
    assert of.temp_c == pytest.approx(41.0, abs=0.5)


@pytest.mark.parametrize("known", [KNOWN, Thermal(25.0, (Stage(3.0, 4.0), Stage(4.0, 60.0))), None])
def test_it_steers_from_the_first_readings_on(known: Thermal | None) -> None:
    """A device that starts cold and would reach 94 C with the power that it wants."""
    of, plant, hottest = ThermalModel(60.0, known, P), Plant(), 0.0
    for _ in range(1200):
        watts = min(of.allowed(), 8.0)
        of.update(1.0, watts, plant.step(watts) + 0.1 * plant.rng.gauss(0, 1))
        hottest = max(hottest, plant.temp_c)
    assert hottest < 61 and plant.temp_c > 58


def test_less_is_allowed_nearer_to_the_target_and_above_it() -> None:
    allowed = []
    for target_c in (70.0, 52.0, 49.9):
        of = ThermalModel(target_c, None, P)
        for _ in range(3):
            of.update(60.0, 4.0, 50.0)
        allowed.append(of.allowed())
    assert math.inf > allowed[0] > allowed[1] > allowed[2] >= 0


@pytest.mark.parametrize(("jump_c", "doubts"), [(15.0, P.patience), (-15.0, P.memory)])
def test_a_jump_is_doubted_and_then_believed(jump_c: float, doubts: int) -> None:
    of, plant = ThermalModel(70.0, KNOWN, P), Plant()
    plant.run(of, 300, square)
    plant.ambient_c += jump_c
    before, seconds = of.temp_c or 0.0, 0
    while abs((of.temp_c or 0.0) - plant.temp_c) > 5:
        plant.run(of, 1, lambda _: 2.0)
        seconds += 1
    assert abs(before - plant.temp_c) > 5 and doubts <= seconds <= doubts + 2, "the median of three is one late"
    plant.run(of, 200, square)
    assert of.temp_c == pytest.approx(plant.temp_c, abs=1.0), "and it does not swing"


def test_single_lies_change_nothing() -> None:
    of, honest = ThermalModel(70.0, KNOWN, P), ThermalModel(70.0, KNOWN, P)
    plants = Plant(), Plant()
    for plant, model in zip(plants, (of, honest), strict=True):
        plant.run(model, 300, square)
    for second in range(30):
        temp_c = plants[0].step(3.0)
        of.update(1.0, 3.0, 120.0 if second % 5 == 0 else temp_c)
        honest.update(1.0, 3.0, plants[1].step(3.0))
    assert of.temp_c == pytest.approx(honest.temp_c, abs=0.3)
    assert of.allowed() == pytest.approx(honest.allowed(), rel=0.1)


def test_silence_keeps_more_distance() -> None:
    of, plant = ThermalModel(70.0, KNOWN, P), Plant()
    plant.run(of, 600, lambda _: 4.0)
    allowed = []
    for _ in range(4):
        allowed.append(of.allowed())
        for _ in range(60):
            of.update(1.0, 4.0, None)
    assert allowed == sorted(allowed, reverse=True) and allowed[0] > allowed[-1] + 0.3
    for _ in range(600):
        of.update(1.0, 4.0, None)
    assert of.allowed() > allowed[-1] - 0.5, "it ends at gate_c"


def test_surroundings_that_warm_up_are_met_before_they_have() -> None:
    steady, warming = (ThermalModel(70.0, KNOWN, P) for _ in range(2))
    for model, rise in ((steady, 0.0), (warming, 0.1)):
        plant = Plant(ambient_c=45.0 - 200 * rise)
        plant.run(model, 300, lambda _: 3.0)
        for _ in range(200):
            plant.ambient_c += rise
            plant.run(model, 1, lambda _: 3.0)
        assert plant.temp_c == pytest.approx(69, abs=3)
    assert warming.allowed() < steady.allowed() - 0.1


def test_a_target_can_change() -> None:
    of, plant = ThermalModel(70.0, KNOWN, P), Plant()
    plant.run(of, 300, square)
    before = of.allowed()
    of.target_c = 60.0
    assert of.allowed() < before
