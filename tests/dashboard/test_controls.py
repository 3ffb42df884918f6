"""What may be set: checked before it is taken, within the user's bounds, and never the end of the run."""

from typing import Any

import pytest

import hydrart
from hydrart.dashboard.controls import Bounds, Controls
from hydrart.errors import SettingError
from hydrart.governor.points import OperatingPoint, Profile, Stage, Thermal

HEADS = (3, 4, 5, 6)


def governor(max_temp_c: float | None = None, **bounds: Any) -> hydrart.Governor:
    """On a device of 30 C that throttles at 70 C."""
    points = tuple(OperatingPoint(k, k * k) for k in HEADS)
    profile = Profile(points, thermal=Thermal(30, (Stage(8, 60),), throttle_c=70, throttle_x=2))
    return hydrart.Governor(profile, fps=15, max_temp_c=max_temp_c, **bounds)


def controls_of(governor: hydrart.Governor, bounds: Bounds) -> Controls:
    controls = Controls(HEADS, bounds)
    controls.begin(governor)
    return controls


def test_what_is_set_holds_from_the_next_frame_on() -> None:
    of = governor()
    controls = controls_of(of, Bounds())
    controls.want({"k": 4, "max_temp_c": 61.5})
    assert of.max_temp_c == 68, "only the loop's thread changes the governor"
    assert controls.apply() is None and of.max_temp_c == 61.5 and of.choose(0)[:2] == (4, "fixed")
    shown = controls.settings()
    assert (shown["fixed_k"], shown["max_temp_c"], shown["own_max_temp_c"]) == (4, 61.5, 61.5)
    controls.want({"k": None})
    assert controls.apply() is None and of.max_temp_c == 61.5, "one leaves the other alone"
    controls.want({"max_temp_c": None})
    assert controls.apply() is None and of.max_temp_c == 68 and of.choose(1).reason != "fixed"
    shown = controls.settings()
    assert (shown["fixed_k"], shown["max_temp_c"], shown["own_max_temp_c"]) == (None, 68, None)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"max_temp_c": 20}, "not above the ambient temperature of the device profile, 30"),
        ({"max_temp_c": 30}, "not above the ambient temperature"),
        ({"max_temp_c": 0}, "lies between 1 and 150"),
        ({"max_temp_c": 10**400}, "lies between 1 and 150"),
        ({"max_temp_c": float("inf")}, "lies between 1 and 150"),
        ({"max_temp_c": True}, "lies between 1 and 150"),
        ({"max_temp_c": "70"}, "lies between 1 and 150"),
        ({"k": 7}, "k is one of 3, 4, 5, 6, or null"),
        ({"k": 4, "max_temp_c": 20}, "not above the ambient temperature"),
        ({"k": True}, "k is one of"),
        ({"k": [4]}, "k is one of"),
        ({"x": 1}, "send"),
        ([4], "send"),
        (None, "send"),
    ],
)
def test_what_would_fail_in_the_loop_is_refused_before(wanted: Any, sentence: str) -> None:
    of = governor()
    controls = controls_of(of, Bounds())
    before = controls.settings()
    with pytest.raises(SettingError, match=sentence):
        controls.want(wanted)
    assert controls.settings() == before and controls.apply() is None and of.max_temp_c == 68


@pytest.mark.parametrize(
    ("bounds", "wanted", "sentence"),
    [
        ({"max_k": 5}, {"k": 6}, r"k is one of 3, 4, 5 \(--max-k 5\), or null"),
        ({"min_k": 4}, {"k": 3}, r"k is one of 4, 5, 6 \(--min-k 4\), or null"),
        ({"k": 4}, {"k": 6}, "k is fixed by --k 4"),
        ({"k": 4}, {"k": None}, "k is fixed by --k 4"),
        ({"max_temp_c": 60}, {"max_temp_c": 60.5}, "at most 60, as --max-temp says"),
    ],
)
def test_the_bounds_of_the_user_win(bounds: dict[str, Any], wanted: dict[str, Any], sentence: str) -> None:
    controls = controls_of(governor(**bounds), Bounds(**bounds))
    with pytest.raises(SettingError, match=sentence):
        controls.want(wanted)


def test_a_limit_that_is_taken_back_leaves_that_of_the_user() -> None:
    of = governor(60)
    controls = controls_of(of, Bounds(max_temp_c=60, max_k=5))
    controls.want({"max_temp_c": 50})
    assert controls.apply() is None and of.max_temp_c == 50
    shown = controls.settings()
    assert shown["heads"] == (3, 4, 5) and shown["bounds"] == {"k": "--max-k 5", "max_temp_c": 60}
    assert (shown["max_temp_c"], shown["default_max_temp_c"]) == (50, 60)
    controls.want({"max_temp_c": None})
    assert controls.apply() is None and of.max_temp_c == 60


@pytest.mark.parametrize("name", ["fix", "limit_temperature"])
def test_what_fails_in_the_loop_is_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object) -> None:
        raise RuntimeError("no")

    of = governor()
    monkeypatch.setattr(of, name, fail)
    controls = controls_of(of, Bounds())
    before = controls.settings()
    controls.want({"k": 4} if name == "fix" else {"max_temp_c": 50})
    assert controls.apply() == "a setting of the page was not taken: no"
    assert controls.settings() == before, "the page shows what is in force"
    assert controls.apply() is None


def test_only_the_latest_of_a_flood_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    of = governor()
    calls: list[int | None] = []
    controls = controls_of(of, Bounds())
    monkeypatch.setattr(of, "fix", calls.append)
    for i in range(10_000):
        controls.want({"k": HEADS[i % 4]})
    assert controls.apply() is None and calls == [6]
