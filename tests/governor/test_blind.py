"""Goals that cannot act: without a reading, or with one k alone."""

import pytest

import hydrart
from hydrart.governor.points import OperatingPoint, Profile

POINTS = Profile((OperatingPoint(3, 1.0), OperatingPoint(6, 2.0)))
NO_TEMPERATURE = (
    "the goal max_temp_c (--max-temp) cannot act, because no temperature is known: see what `hydrart devices --here` "
    "finds, or pass temp_c to observe()"
)
NO_BATTERY = (
    "the goal until_h (--until) cannot act, because no battery is known: give --battery-cmd or a callback, or pass "
    "battery to observe()"
)


def drive(governor: hydrart.Governor, start: float, seconds: float, **readings: float) -> None:
    for i in range(int(10 * seconds)):
        now = start + i / 10
        decision = governor.choose(now)
        governor.observe(now, decision.k, 1.0, **readings)


def test_a_goal_without_its_reading_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(POINTS, fps=10, max_temp_c=60, until_h=2)
    drive(governor, 0, 9.9)
    assert not caplog.messages, "a program may read its own thermometer every 10 s"
    drive(governor, 9.9, 10)
    assert caplog.messages == [NO_TEMPERATURE]
    drive(governor, 19.9, 60)
    assert caplog.messages == [NO_TEMPERATURE, NO_BATTERY]
    assert {record.name for record in caplog.records} == {"hydrart.governor"}
    assert governor.blind(80) == {"max_temp_c": NO_TEMPERATURE, "until_h": NO_BATTERY}


def test_a_reading_that_comes_late_is_no_missing_one(caplog: pytest.LogCaptureFixture) -> None:
    """A program feeds the governor itself: its first temperature comes after 8 s, then one every 9 s."""
    governor = hydrart.Governor(POINTS, fps=10, max_temp_c=60)
    drive(governor, 0, 8)
    for i in range(5):
        governor.observe(8 + 9 * i, temp_c=50.0)
        drive(governor, 8 + 9 * i, 9)
    assert not caplog.messages


def test_a_pause_of_the_program_is_no_missing_reading(caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(POINTS, fps=10, max_temp_c=60)
    governor.observe(0, 3, 1.0)
    for hour in (1, 2, 3):  # each time, the frame comes before the temperature
        governor.observe(3600 * hour, 3, 1.0)
        governor.observe(3600 * hour + 0.01, temp_c=50.0)
    assert not caplog.messages


def test_slow_frames_are_told_too(caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(POINTS, max_temp_c=60)
    for minute in range(11):
        governor.observe(60 * minute, 3, 1.0)
    assert caplog.messages == [NO_TEMPERATURE]


def test_a_goal_with_its_reading_is_not_blind(caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(POINTS, fps=10, max_temp_c=60, until_h=2)
    drive(governor, 0, 20, temp_c=50, battery=0.5)
    assert governor.blind(20) == {} and not caplog.messages
    drive(governor, 20, 20, battery=0.5)
    assert list(governor.blind(40)) == ["max_temp_c"] and caplog.messages == [NO_TEMPERATURE], "the sensor was lost"
    governor.report_blind(40)
    assert caplog.messages == [NO_TEMPERATURE], "it was told"
    drive(governor, 40, 5, temp_c=50, battery=0.5)
    assert governor.blind(45) == {}
    drive(governor, 45, 5, temp_c=900, battery=0.5)
    drive(governor, 50, 10, temp_c=900, battery=0.5)
    assert list(governor.blind(60)) == ["max_temp_c"], "what cannot be is no reading"


@pytest.mark.parametrize("bounds", [{"k": 6}, {"min_k": 6}, {"max_k": 3}])
def test_a_goal_with_one_k_alone_is_blind(bounds: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(POINTS, fps=10, max_temp_c=60, **bounds)  # type: ignore[arg-type]
    drive(governor, 0, 5, temp_c=50)
    only = 3 if "max_k" in bounds else 6
    assert caplog.messages == [
        f"the goal max_temp_c (--max-temp) cannot act, because only k={only} may run: allow several"
    ]


def test_goals_that_change() -> None:
    governor = hydrart.Governor(POINTS, fps=10)
    assert governor.blind(0) == {}, "there is no goal"
    governor.limit_temperature(60)
    assert list(governor.blind(0)) == ["max_temp_c"]
    governor.limit_temperature(None)
    governor.fix(6)
    assert governor.blind(0) == {}
    governor.limit_temperature(60)
    governor.observe(1, temp_c=50.0)
    assert "only k=6 may run" in governor.blind(1)["max_temp_c"]
    governor.fix(None)
    assert governor.blind(1) == {}
