"""The operating points and the profile around them."""

import pytest

from hydrart.errors import SettingError
from hydrart.governor.points import OperatingPoint, Profile, interpolate

PROFILE = Profile(tuple(OperatingPoint(k, float(k), latency_ms=10.0 * k) for k in (3, 6, 12)), idle_w=2.0)


def test_measured_latencies_replace_those_of_the_table() -> None:
    made = PROFILE.measured({6: 1.0})
    assert [point.latency_ms for point in made.points] == [30, 1, 120] and made.idle_w == 2.0
    assert PROFILE.points[1].latency_ms == 60, "the profile itself stays"


@pytest.mark.parametrize(
    ("low", "high", "ks"), [(None, None, [3, 6, 12]), (4, None, [6, 12]), (None, 6, [3, 6]), (6, 6, [6])]
)
def test_bounds(low: int | None, high: int | None, ks: list[int]) -> None:
    assert [point.k for point in PROFILE.between(low, high)] == ks


@pytest.mark.parametrize(("low", "high"), [(4, 5), (13, None), (None, 2), (6, 3)])
def test_bounds_that_leave_nothing(low: int | None, high: int | None) -> None:
    with pytest.raises(SettingError, match=r"no trained k lies between \d+ and \d+: choose from 3, 6, 12"):
        PROFILE.between(low, high)


def test_between_two_ks_lies_a_straight_line_and_beyond_them_nothing_changes() -> None:
    table = {4: 10.0, 8: 30.0}
    assert [interpolate(table, k) for k in (3, 4, 5, 6, 8, 12)] == [10, 10, 15, 20, 30, 30]
    assert interpolate({}, 3) is None
