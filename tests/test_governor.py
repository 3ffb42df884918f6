"""The governor: pure decisions from made-up latencies, and device profiles."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hydrart.errors import ProfileError, SettingError
from hydrart.governor.device import load_device
from hydrart.governor.governor import Governor
from hydrart.governor.profile import Profile, ProfileRow
from hydrart.resources import bundled

KS = range(3, 13)
TABLE = Profile(tuple(ProfileRow(k, work=k * k) for k in KS))


def latency(k: int) -> float:
    """A machine on which k takes k * k milliseconds."""
    return float(k * k)


def drive(governor: Governor, seconds: float, slowdown: float = 1.0, start: float = 0.0) -> list[int]:
    """Run frames at 15 fps on that machine."""
    ks = []
    for i in range(int(seconds * 15)):
        now = start + i / 15
        decision = governor.choose(now)
        governor.observe(now, decision.k, latency(decision.k) * slowdown)
        ks.append(decision.k)
    return ks


def test_settles_on_the_largest_that_fits() -> None:
    governor = Governor(TABLE, fps=15)  # 66.7 ms: 7 takes 49, 8 takes 64
    ks = drive(governor, 10)
    assert ks[0] == 3, "nothing is known yet: the smallest is the safe one"
    assert ks[-1] == 7
    assert governor.choose(10).reason == "deadline"
    assert all(latency(k) <= 1000 / 15 for k in ks)


def test_the_largest_when_all_fit_and_the_smallest_when_none_does() -> None:
    fast, slow = Governor(TABLE, fps=5), Governor(TABLE, fps=200)
    assert drive(fast, 10)[-1] == 12 and fast.choose(10).reason == "largest"
    assert set(drive(slow, 10)) == {3} and slow.choose(10).reason == "overload"


def test_gives_way_to_another_program_and_comes_back() -> None:
    governor = Governor(TABLE, fps=15)
    drive(governor, 5)
    during = drive(governor, 10, slowdown=3, start=5)
    assert all(k <= 4 for k in during[5:]), "within five frames: 3 * 16 = 48 ms fits, 3 * 25 does not"
    after = drive(governor, 15, start=15)
    assert after[-1] == 7


def test_does_not_swing() -> None:
    governor = Governor(TABLE, fps=15)
    drive(governor, 10)
    ks = []
    for i in range(600):
        now = 10 + i / 15
        decision = governor.choose(now)
        governor.observe(now, decision.k, latency(decision.k) * (1 + 0.1 * math.sin(i)))
        ks.append(decision.k)
    assert sum(a != b for a, b in pairwise(ks)) <= 6


def test_equal_observations_give_equal_decisions() -> None:
    assert drive(Governor(TABLE, fps=15), 5) == drive(Governor(TABLE, fps=15), 5)


def test_fixed_bounded_and_without_a_rate() -> None:
    assert Governor(TABLE, fps=15, k=9).choose(0).k == 9
    assert Governor(TABLE, fps=15, k=9).choose(0).reason == "fixed"
    assert set(drive(Governor(TABLE, fps=15, min_k=9), 3)) == {9}
    assert drive(Governor(TABLE, fps=5, max_k=6), 10)[-1] == 6
    assert Governor(TABLE).choose(0).k == 12


def test_a_profile_spares_the_search() -> None:
    known = Profile(tuple(ProfileRow(k, k * k, latency_ms=latency(k)) for k in KS))
    decision = Governor(known, fps=15).choose(0)
    assert (decision.k, decision.expected_ms) == (7, 49.0)


def test_nonsense_observations_are_ignored() -> None:
    governor = Governor(TABLE, fps=15)
    before = drive(governor, 10)[-1]
    for value in (math.nan, math.inf, 0.0, -5.0):
        governor.observe(10, before, value)
    assert governor.choose(10).k == before


@pytest.mark.parametrize("goals", [{"fps": 0}, {"fps": -1}, {"fps": math.nan}, {"fps": math.inf}])
def test_impossible_rates(goals: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="pass a positive number of frames per second"):
        Governor(TABLE, **goals)


@pytest.mark.parametrize("bounds", [{"k": 2}, {"min_k": 13}, {"max_k": 2}, {"min_k": 7, "max_k": 6}])
def test_impossible_bounds(bounds: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="no trained k lies between"):
        Governor(TABLE, fps=15, **bounds)


@pytest.mark.parametrize("name", bundled("devices", ".yaml"))
def test_profiles_that_ship(name: str) -> None:
    device = load_device(name)
    assert device.name == name and device.description
    assert list(device.latency_ms) == sorted(device.latency_ms)
    assert list(device.latency_ms.values()) == sorted(device.latency_ms.values())


def test_some_profile_ships() -> None:
    assert "generic" in bundled("devices", ".yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latency: {3: 4}", "did you mean latency_ms"),
        ("latency_ms: {3: -4}", "give a positive number"),
        ("latency_ms: {3: .nan}", "give a positive number"),
        ("latency_ms: {3: .inf}", "give a positive number"),
        ("latency_ms: {three: 4}", "use whole numbers of heads"),
        ("latency_ms: [3, 4]", "must be a mapping"),
        ("power_w: {idle: cold}", "give a positive number"),
        ("[1, 2]", "is no mapping"),
        ("{", "is not YAML"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_profiles_that_are_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as error:
        load_device(path)
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
