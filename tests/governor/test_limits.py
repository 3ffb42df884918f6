"""What closes the larger networks: the governor's slow loop with temperatures that a CPU's share of time makes."""

import math

import pytest

from hydrart.governor.governor import Decision, Governor
from hydrart.governor.points import OperatingPoint, Profile

KS = range(3, 13)
TABLE = Profile(tuple(OperatingPoint(k, work=k * k) for k in KS))  # without powers
FPS = 5  # 12 takes 144 of 200 ms


class Plant:
    """A device that computes k * k milliseconds, gets warm with a lag of 10 s, and has a gauge that tells watts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.temp_c = 40.0

    def run(self, governor: Governor, seconds: float, rise_c: float, base_w: float | None = None) -> list[Decision]:
        """rise_c: kelvin that a whole core makes it warmer; base_w: what it draws besides, None without a gauge."""
        decisions = []
        for i in range(int(seconds * FPS)):
            decision = governor.choose(self.now)
            decisions.append(decision)
            share = decision.k**2 * FPS / 1000
            self.temp_c += (40 + rise_c * share - self.temp_c) * -math.expm1(-1 / FPS / 10)
            self.now += 1 / FPS
            second = i % FPS == 0
            power_w = base_w + 3 * share if second and base_w else None
            temp_c = self.temp_c if second else None
            governor.observe(self.now, decision.k, decision.k**2, temp_c=temp_c, power_w=power_w)
        return decisions


def test_a_sudden_change_of_temperature_is_followed_and_forgotten() -> None:
    """A fan that stops and starts again: readings are doubted first, but the model does not swing for it for ever."""
    governor, plant = Governor(TABLE, fps=FPS, max_temp_c=60), Plant()
    plant.run(governor, 10, rise_c=0)
    hot = plant.run(governor, 60, rise_c=60)
    cool = plant.run(governor, 60, rise_c=0)
    assert hot[-1].reason == "heat" and plant.temp_c < 45 and cool[-1].k == 12
    later = plant.run(governor, 120, rise_c=0)
    assert {(decision.k, decision.reason) for decision in later} == {(12, "accuracy")}


def test_what_is_held_for_its_heat_says_so() -> None:
    """Nothing limits it any more, but it rises only after a while."""
    governor, plant = Governor(TABLE, fps=FPS), Plant()
    plant.run(governor, 5, rise_c=0)
    for _ in range(3):
        governor.observe(plant.now, throttled=True)
        plant.run(governor, 1.2, rise_c=0)
    assert governor.choose(plant.now).reason == "heat"
    assert governor.choose(plant.now).why == "heat", "there is no target"
    for _ in range(10):
        governor.observe(plant.now, throttled=False)
        decisions = plant.run(governor, 1, rise_c=0)
        assert {decision.reason for decision in decisions} == {"heat"}, "there is no battery"
    assert plant.run(governor, 30, rise_c=0)[-1].k == 12


@pytest.mark.parametrize("base_w", [None, 6.0])
def test_heat_is_limited_without_a_table_of_powers(base_w: float | None) -> None:
    """Also where a gauge shows the whole device's watts, and nobody knows how many of them each k takes."""
    governor, plant = Governor(TABLE, fps=FPS, max_temp_c=60), Plant()
    plant.run(governor, 120, 60, base_w)
    for _ in range(60):
        decisions = plant.run(governor, 5, 60, base_w)
        assert plant.temp_c < 62
    assert decisions[-1].reason == "heat" and plant.temp_c > 50


def test_between_two_readings_of_the_gauge_it_is_still_plugged_in() -> None:
    governor, plant = Governor(TABLE, fps=FPS, until_h=10), Plant()
    for second in range(60):
        if second % 5 == 0:
            governor.observe(plant.now, battery=0.04, charging=True, capacity_wh=20)
        decisions = plant.run(governor, 1, rise_c=0)
        assert "battery" not in {decision.reason for decision in decisions}
    plant.run(governor, 30, rise_c=0)
    assert governor.choose(plant.now).reason == "accuracy", "the gauge is gone"
    governor.observe(plant.now, battery=0.04, charging=False)
    assert plant.run(governor, 3, rise_c=0)[-1].reason == "battery"
