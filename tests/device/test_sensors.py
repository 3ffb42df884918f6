"""Sensors in threads: values that arrive once and stay, hang, grow old; a callback; a run that shows them."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hydrart
from hydrart.device.sensors import Sensors, blind_goals, checked, survey
from hydrart.errors import SettingError
from hydrart.governor.points import OperatingPoint, Profile
from tests.support.commands import PATIENCE_S, good, sensors, sentence

ZONE = "sys/class/thermal/thermal_zone"


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_this_machine() -> None:
    found = survey()
    assert list(found) == [
        "temperatures", "temp_c", "battery", "throttled", "undervoltage", "frequency_mhz", "others_load"
    ]  # fmt: skip
    assert "no answer" not in found.values()


def test_values_arrive_once_and_stay(tmp_path: Path) -> None:
    sensors(tmp_path)
    with Sensors(root=tmp_path) as running:
        until(lambda: "battery" in running.latest() and "throttled" in running.latest())
        new = running.new()
        assert new["battery"] == 0.5 and new["power_w"] == 6 and new["charging"] is False
        assert "battery" not in running.new(), "told already"
        assert running.latest()["battery"] == 0.5 and running.latest()["capacity_wh"] == 40
        until(lambda: "temp_c" in running.latest())
        governor = hydrart.Governor(Profile((OperatingPoint(3, 1.0),)), fps=15)
        governor.observe(time.monotonic(), **running.latest())


def test_a_sensor_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    sensors(tmp_path)
    stuck = tmp_path / f"{ZONE}1/temp"
    stuck.unlink()
    os.mkfifo(stuck)  # who opens it waits for a writer
    with Sensors(root=tmp_path) as running:
        until(lambda: "battery" in running.latest())
        start = time.monotonic()
        assert "temp_c" not in running.latest()
        assert time.monotonic() - start < PATIENCE_S / 2
        running.close()
    assert survey(tmp_path, wait_s=1)["temp_c"] == "no answer"
    for _ in range(3):  # let the threads go
        os.close(os.open(stuck, os.O_RDWR | os.O_NONBLOCK))


def test_old_values_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensors(tmp_path)
    with Sensors(root=tmp_path) as running:
        until(lambda: "battery" in running.latest())
        now = time.monotonic()
    monkeypatch.setattr("hydrart.device.sensors.time.monotonic", lambda: now + 30)
    assert running.latest().keys() == {"battery", "power_w", "charging", "capacity_wh"}, "gauges count for a minute"
    monkeypatch.setattr("hydrart.device.sensors.time.monotonic", lambda: now + 1000)
    assert running.latest() == {}


def test_a_callback_and_what_it_may_do(tmp_path: Path) -> None:
    calls = []

    def board() -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("the bus is busy")
        return {"battery": 0.31, "power_w": None, "charging": False}

    with Sensors(root=tmp_path, callback=board) as running:
        until(lambda: running.latest().get("battery") == 0.31)
        assert running.latest() == {"battery": 0.31, "charging": False}


def test_a_callback_that_exits_is_called_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def board() -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise SystemExit
        return {"battery": 87}

    with Sensors(root=tmp_path, callback=board) as running:
        until(lambda: running.latest() == {"battery": 0.87})
    assert caplog.messages == ["the callback cannot be read: SystemExit"]


def test_a_value_that_cannot_be_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def board() -> dict[str, Any]:
        calls.append(1)
        return {"temp_c": 45_000, "charging": "yes", "battery": None}

    with Sensors(root=tmp_path, callback=board):
        until(lambda: len(calls) == 3)
    assert caplog.messages == [
        "the callback gives charging='yes', which cannot be: give true or false",
        "the callback gives temp_c=45000, which cannot be: give a number from -40 to 150",
    ]


def test_a_callback_that_returns_no_mapping(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Sensors(root=tmp_path, callback=lambda: 87):  # type: ignore[arg-type,return-value]
        until(lambda: bool(caplog.messages))
    assert caplog.messages == ["the callback cannot be read: it returned a value of type int: return readings by name"]


def test_what_a_callback_returns_is_checked() -> None:
    wrong = {"temp_c": 900, "battery": float("nan"), "power_w": "3", "charging": 1, "capacity_wh": True}
    assert checked(wrong) == {}
    with pytest.raises(ValueError, match="'temp' is no reading: use temp_c"):
        checked({"temp": 3})


def test_sensors_that_cannot_be(tmp_path: Path) -> None:
    for command in ("", "  ", "'"):
        with pytest.raises(SettingError, match="is no command"):
            Sensors(battery_cmd=command)
    with pytest.raises(SettingError, match="is no folder"):
        Sensors(root=tmp_path / "nowhere")


def test_threads_end(tmp_path: Path) -> None:
    before = threading.active_count()
    with Sensors(root=tmp_path, battery_cmd="true"):
        assert threading.active_count() > before
    until(lambda: threading.active_count() <= before)


# in a run


def test_a_run_tells_what_sensors_read(weights: Path, tmp_path: Path) -> None:
    sensors(tmp_path)
    args = ("--source", "demo", "--weights", weights, "--sensor-root", tmp_path, "--max-frames", 60, "--fps", 30)
    shown = good("run", *args, "--max-temp", 60, "--until", 2, "--json").stdout
    *frames, last = [json.loads(line) for line in shown.splitlines()]
    assert frames[-1]["temp_c"] == 51.2 and frames[-1]["battery"] == 0.5 and frames[-1]["power_w"] == 6
    assert last["summary"]["throttled_s"] > 0


def test_a_run_tells_which_goals_are_blind(weights: Path, tmp_path: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 2, "--json", "--sensor-root", tmp_path)
    blind = {
        ("--max-temp", 60): ["max_temp_c"],
        ("--until", 2): ["until_h"],
        ("--until", 2, "--battery-cmd", "echo 87%"): [],
        ("--until", 2, "--battery-cmd", "echo full"): ["until_h"],
        ("--max-temp", 60, "--k", 6): ["max_temp_c"],
        ("--k", 6): [],
    }
    for options, goals in blind.items():
        shown = good(*args, *options)
        for line in map(json.loads, shown.stdout.splitlines()[:-1]):
            assert line["blind"] == goals, options
        warned = [line for line in shown.stderr.splitlines() if line.startswith("the goal ")]
        assert [line.split()[2] for line in warned] == goals, "once, before the first frame"
    sensors(tmp_path)
    shown = good(*args, "--max-temp", 60, "--until", 2)
    assert json.loads(shown.stdout.splitlines()[0])["blind"] == [] and "the goal" not in shown.stderr


def test_goals_of_a_machine(tmp_path: Path) -> None:
    assert blind_goals(tmp_path) == ["max_temp_c", "until_h"]
    sensors(tmp_path)
    assert blind_goals(tmp_path) == []
    stuck = tmp_path / f"{ZONE}1/temp"
    stuck.unlink()
    os.mkfifo(stuck)
    assert blind_goals(tmp_path, wait_s=0.2) == ["max_temp_c"]
    os.close(os.open(stuck, os.O_RDWR | os.O_NONBLOCK))  # let the thread go


def test_goals_of_a_run_that_cannot_be(weights: Path, tmp_path: Path) -> None:
    profile = tmp_path / "hot.yaml"
    profile.write_text("thermal: {ambient_c: 35, stages: [{r_c_per_w: 4, tau_s: 60}]}\n")
    args = ("run", "--source", "demo", "--weights", weights)
    assert "not above the ambient" in sentence(*args, "--device", profile, "--max-temp", 30)
    assert "is no command" in sentence(*args, "--battery-cmd", " ")
    assert "is no folder" in sentence(*args, "--sensor-root", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"names": 3}, "names=3 names no sensors"),
        ({"root": 3}, "root=3 is no folder"),
        ({"callback": 3}, "callback=3 is no function: pass one that returns readings by name"),
        ({"battery_cmd": 3}, "the battery command 3 is no command"),
    ],
)
def test_arguments_of_other_types(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Sensors(**settings)
