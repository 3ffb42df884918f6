"""What closes the larger networks: the governor's slow loop with temperatures that a CPU's share of time makes."""

import math

import pytest

from hydrart.governor.governor import Decision, Governor
from hydrart.governor.limits import PowerLimit
from hydrart.governor.parameters import DEFAULTS
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


# the limit alone: k draws 2 + k W while it computes, which is half of the time


POWERED = Profile(tuple(OperatingPoint(k, k, power_w=2.0 + k) for k in KS), idle_w=2.0, capacity_wh=10.0)


def limit(until_h: float | None = None, max_temp_c: float | None = None) -> PowerLimit:
    made = PowerLimit(POWERED, POWERED.points, max_temp_c, until_h, lambda k: 0.5, DEFAULTS)
    made.review(0.0)
    return made


def second(of: PowerLimit, now: float, **readings: float | bool) -> None:
    """k=4 computes for half a second, and sensors are read."""
    of.ran(4, 500.0)
    of.sense(readings)
    of.review(now)


def test_what_is_open_fits_the_battery() -> None:
    of = limit(until_h=1.0)
    assert of.open == set(KS) and of.reason == ""
    second(of, 1.0, battery=0.605)
    # 6 Wh for an hour, and what k=4 saved in the first second: 6 W are idle and half of k=8
    assert of.open == set(range(3, 9)) and of.reason == "battery"
    assert of.numbers is not None and of.numbers[0] == pytest.approx(2 + 9 / 2)
    assert of.numbers[1] == pytest.approx(6.0, abs=0.05)


def test_it_falls_at_once_and_rises_after_a_wait() -> None:
    of = limit()
    for now in (1.0, 2.0):
        second(of, now, throttled=True)
    assert len(of.open) == len(KS) - 2 and of.reason == "heat" and of.numbers is None
    changed = 2.0
    for now in range(3, 60):
        second(of, float(now))
        if now < changed + DEFAULTS.horizon_s:
            assert len(of.open) == len(KS) - 2 and of.reason == "heat"
    assert of.open == set(KS)


def test_a_weak_supply_goes_before_heat_and_one_k_stays() -> None:
    of = limit()
    for now in range(1, 30):
        second(of, float(now), throttled=True, undervoltage=True)
    assert of.open == {3} and of.reason == "supply"


def test_between_two_reviews_nothing_changes() -> None:
    of = limit()
    second(of, 0.5, throttled=True)
    assert of.open == set(KS)
    second(of, 0.995)
    assert len(of.open) == len(KS) - 1, "the reading was kept, and a second is nearly over"


@pytest.mark.parametrize(("power_w", "believed"), [(5.0, True), (500.0, False), (0.1, False)])
def test_powers_that_cannot_be_are_ignored(power_w: float, believed: bool) -> None:
    """By the table it is 2 W idle and half of 4 W: 4 W."""
    of, quiet = limit(until_h=1.0), limit(until_h=1.0)
    for now in range(1, 200):
        second(of, float(now), battery=0.605, power_w=power_w)
        second(quiet, float(now), battery=0.605)
    assert (of.open != quiet.open or of.numbers != quiet.numbers) == believed


def test_the_capacity_counts_until_the_budget_begins() -> None:
    of = limit(until_h=1.0)
    second(of, 1.0, capacity_wh=20.0, battery=0.5)
    second(of, 2.0, capacity_wh=40.0)
    assert of.capacity_wh == 20.0
