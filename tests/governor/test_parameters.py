"""The governor's parameters: every one is described, used, and shown in the documents as it is."""

import json
import math
import random
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from hydrart.governor.governor import Governor
from hydrart.governor.parameters import DEFAULTS, Description, Parameters, described, parameter
from hydrart.governor.points import OperatingPoint, Profile, Stage, Thermal
from tools import sensitivity_page
from tools.results_tables import TABLES_END, TABLES_START

DOCS = Path(__file__).parents[2] / "docs"
POINTS = tuple(OperatingPoint(k, k * k, k / 12, float(k * k), 2 + k / 2) for k in range(3, 13))
PROFILE = Profile(POINTS, idle_w=2.0)


@pytest.mark.parametrize(("name", "about"), [(name, about) for name, (_, about) in described(DEFAULTS).items()])
def test_every_parameter_is_described(name: str, about: Any) -> None:
    assert all(about), "no part is empty"
    assert about.source.split()[0].rstrip(":;") in ("measured", "chosen")
    assert about.meaning.endswith(".") and about.half.endswith(".") and about.twice.endswith(".")
    assert about.half != about.twice


def test_the_page_shows_them_as_they_are() -> None:
    record = json.loads(DOCS.joinpath("governor-parameters.json").read_text("utf-8"))
    assert set(record["changes"]) == set(described(DEFAULTS)), "measure them: python -m tools.sensitivity"
    text = DOCS.joinpath("governor-parameters.md").read_text("utf-8")
    shown = text.partition(TABLES_START)[2].partition(TABLES_END)[0].strip()
    assert shown == sensitivity_page.tables(record).strip(), "write it again: python -m tools.sensitivity --page"


def watched(parameters: Parameters, read: set[str]) -> Parameters:
    """The same parameters, which note what is read of them. The making reads nothing that counts."""

    class Watched(Parameters):
        def __getattribute__(self, entry: str) -> Any:
            if not entry.startswith("_"):
                read.add(entry)
            return super().__getattribute__(entry)

    made = Watched(**{entry.name: getattr(parameters, entry.name) for entry in fields(parameters)})
    read.clear()
    return made


def drive(governor: Governor, seconds: float, power: bool) -> None:
    """An eventful run: load that steps, heat, a battery that falls, other programs, firmware that complains."""
    rng, share, temp_c = random.Random(1), 0.9, 50.0
    for i in range(int(seconds * 15)):
        now, slowdown = i / 15, 1 + (i // 100 % 2) + 20 * (i // 900 % 2)
        decision = governor.choose(now, waited_ms=20.0 * (i % 7 == 0))
        readings: dict[str, Any] = {}
        if i % 15 == 0:
            share -= 0.001
            temp_c += 0.2
            lies = 10 <= i // 15 % 20 < 13
            readings = {"temp_c": temp_c + 20 * lies, "battery": 0.2 if lies else share}
            readings["others_load"] = float(i // 200 % 2)
            readings |= {"power_w": 6.0} if power else {}
        latency_ms = decision.k**2 * slowdown * math.exp(0.1 * rng.gauss(0, 1))
        governor.observe(now, decision.k, latency_ms, **readings)


def test_none_is_without_use() -> None:
    read: set[str] = set()
    parameters = watched(DEFAULTS, read)
    hot = Thermal(25, (Stage(8, 60),), throttle_c=70, throttle_x=2)
    plain = Profile(tuple(OperatingPoint(k, k * k) for k in range(3, 13)))
    known, unknown = replace(PROFILE, thermal=hot, capacity_wh=10.0), replace(plain, capacity_wh=10.0)
    for power in (True, False):
        drive(Governor(known, fps=15, until_h=0.5, parameters=parameters), 150, power)
        drive(Governor(unknown, fps=15, until_h=0.5, max_temp_c=60, parameters=parameters), 150, power)
    assert read - {"outlier"} == set(described(DEFAULTS))


def test_a_governor_takes_others() -> None:
    def first_k(parameters: Parameters) -> int:
        return Governor(PROFILE, fps=15, parameters=parameters).choose(0).k

    assert first_k(DEFAULTS) == 7, "49 of 66.7 ms"
    assert first_k(Parameters(miss_price=100)) < 7
    assert first_k(Parameters(memory=1)) < 7, "less is known"


def test_the_users_price_is_the_parameters() -> None:
    def first_k(**price: Any) -> int:
        return Governor(PROFILE, fps=15, **price).choose(0).k

    assert first_k(miss_price=100) == first_k(parameters=Parameters(miss_price=100)) < first_k()
    assert first_k(miss_price=DEFAULTS.miss_price, parameters=Parameters(miss_price=100)) == first_k()


def test_noise_brings_an_outlier_once_in_a_window() -> None:
    rng = random.Random(1)
    draws = [rng.gauss(0, 1) for _ in range(100_000)]
    assert sum(draw > DEFAULTS.outlier for draw in draws) == pytest.approx(len(draws) / DEFAULTS.window, rel=0.3)


def test_there_are_few() -> None:
    assert len(described(DEFAULTS)) <= 10


def test_a_field_has_its_default_and_its_description() -> None:
    @dataclass(frozen=True)
    class Group:
        window: int = parameter(64, "frames", "Meaning.", "chosen", "Half.", "Twice.")

    (entry,) = fields(Group)
    assert Group().window == 64 and Group(window=3).window == 3
    assert entry.metadata["description"] == Description("frames", "Meaning.", "chosen", "Half.", "Twice.")


def test_nobody_can_change_the_defaults() -> None:
    assert Parameters() == DEFAULTS
    with pytest.raises(AttributeError):
        DEFAULTS.window = 0  # type: ignore[misc]
