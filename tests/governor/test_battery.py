"""The battery's budget alone: charges, gauges and draws that are made up."""

import math

import pytest

from hydrart.governor.battery import RESERVE, BatteryBudget
from hydrart.governor.parameters import DEFAULTS

P = DEFAULTS
HOUR_S = 3600.0


def budget(hours: float = 1.0, capacity_wh: float | None = 10.0) -> BatteryBudget:
    return BatteryBudget(hours * HOUR_S, capacity_wh, P)


def drain(of: BatteryBudget, seconds: int, own_w: float, start: int = 0) -> None:
    """Seconds in which hydrart draws own_w and the gauge is silent."""
    for second in range(start, start + seconds):
        of.update(second, 1.0, own_w, None, None, charging=False)


def test_nothing_is_limited_before_the_first_reading() -> None:
    of = budget()
    assert of.left is None and of.allowed(0) == math.inf
    of.update(0, 1, 3.0, None, None, charging=False)
    assert of.allowed(0) == math.inf


def test_what_is_left_is_spread_evenly_less_the_reserve() -> None:
    of = budget(hours=2)
    of.update(0, 1, 4.0, None, 0.8, charging=False)
    assert of.left == 0.8 and of.allowed(0) == pytest.approx((0.8 - RESERVE) * 10 / 2, abs=0.01)
    assert of.allowed(HOUR_S) == pytest.approx((0.8 - RESERVE) * 10 / 1, abs=0.01)
    assert of.allowed(2 * HOUR_S) == math.inf, "the goal is reached"


def test_the_count_goes_on_between_two_readings() -> None:
    of = budget()
    of.update(0, 1, 0.0, None, 0.5, charging=False)
    drain(of, 360, own_w=10.0)
    assert of.left == pytest.approx(0.5 - 0.1), "a tenth of an hour at 10 W of 10 Wh"


def test_the_gauge_corrects_the_count_little_by_little() -> None:
    of = budget()
    of.update(0, 1, 0.0, None, 0.5, charging=False)
    of.update(1, 1, 0.0, None, 0.4, charging=False)
    assert of.left == pytest.approx(0.5 - 0.1 / P.memory)
    for second in range(2, 302):
        of.update(second, 1, 0.0, 0.0, 0.4, charging=False)
    assert of.left == pytest.approx(0.4, abs=0.001)


def test_a_reading_that_is_far_off_is_believed_only_after_doubts() -> None:
    of = budget()
    of.update(0, 1, 0.0, None, 0.9, charging=False)
    for second in range(P.memory):
        of.update(second, 1, 0.0, None, 0.1, charging=False)
        assert of.left == 0.9
    of.update(P.memory, 1, 0.0, None, 0.1, charging=False)
    assert of.left == 0.1


def test_a_charging_battery_limits_nothing() -> None:
    of = budget()
    of.update(0, 1, 4.0, None, 0.3, charging=True)
    assert of.allowed(0) == math.inf and of.left == 0.3
    of.update(1, 1, 4.0, None, 0.3, charging=False)
    assert of.allowed(1) < 3


def test_what_others_draw_is_taken_from_the_budget() -> None:
    of = budget(hours=10, capacity_wh=100.0)
    for second in range(3000):
        of.update(second, 1.0, 4.0, 6.0, 1.0, charging=False)
    # the gauge stays full: 99.5 Wh over 9.17 h, less the 2 W that a sensor tells of others
    left = 10 - 3000 / HOUR_S
    assert of.allowed(3000) == pytest.approx(99.5 / left - 2 + (of._saved_j / P.forget_s), abs=0.3)
    assert of._other_w == pytest.approx(2, abs=0.01)


def test_without_a_sensor_others_are_learnt_from_the_fall_of_the_gauge() -> None:
    of, share = budget(hours=4, capacity_wh=10.0), 1.0
    for second in range(3600):
        share -= 6 / HOUR_S / 10  # 6 W in all
        of.update(second, 1.0, 4.0, None, math.floor(share * 100) / 100, charging=False)
    assert of._other_w == pytest.approx(2, abs=0.7)


def test_a_capacity_that_nobody_tells_is_learnt() -> None:
    of, share = budget(hours=2, capacity_wh=None), 0.9
    while of.capacity_wh is None:
        assert of.allowed(0) == math.inf
        share -= 5 / HOUR_S / 20
        of.update(0, 1.0, 5.0, None, share, charging=False)
    assert of.capacity_wh == pytest.approx(20, rel=0.02)


def test_what_was_saved_is_spent_within_a_minute() -> None:
    of = budget(hours=10, capacity_wh=50.0)
    of.update(0, 1, 5.0, None, 1.0, charging=False)
    even_w = of.allowed(0)
    drain(of, 30, own_w=even_w - 1.0, start=1)
    assert of.allowed(31) == pytest.approx(even_w + 30 / P.forget_s, rel=0.02)
    drain(of, 3000, own_w=even_w - 1.0, start=31)
    assert of.allowed(3031) < 2.2 * even_w, "never more than is even on top"


def test_an_empty_battery_allows_nothing() -> None:
    of = budget()
    of.update(0, 1, 4.0, None, RESERVE / 2, charging=False)
    assert of.allowed(0) <= 0
