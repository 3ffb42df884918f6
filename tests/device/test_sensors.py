"""Sensors: trees of files as Linux has them, right and wrong; commands, callbacks, and whatever hangs."""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hydrart
from hydrart.device import linux
from hydrart.device import sensors as reading
from hydrart.device.sensors import Command, Sensors, checked, survey
from hydrart.errors import SettingError
from hydrart.governor.points import Profile, ProfileRow
from tests.support.commands import PATIENCE_S, good, sensors, sentence, tree

ZONE, HWMON, SUPPLY = "sys/class/thermal/thermal_zone", "sys/class/hwmon/hwmon", "sys/class/power_supply/"


def zone(root: Path, number: int, kind: str, temp: object) -> None:
    tree(root, {f"{ZONE}{number}/type": kind, f"{ZONE}{number}/temp": temp})


def cell(root: Path, name: str, **attributes: object) -> None:
    tree(root, {f"{SUPPLY}{name}/{key}": value for key, value in ({"type": "Battery"} | attributes).items()})


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# temperature


def test_the_zone_is_chosen_by_its_type(tmp_path: Path) -> None:
    zone(tmp_path, 0, "battery", 30000)
    zone(tmp_path, 1, "cpu-thermal", 55250)
    zone(tmp_path, 2, "wifi", 80000)
    assert linux.Thermometer(tmp_path)() == 55.25
    assert linux.Thermometer(tmp_path, "wifi")() == 80
    assert linux.Thermometer(tmp_path, "gpu")() is None, "one that is not there is not replaced by another"
    assert linux.Thermometer(tmp_path, "none")() is None


def test_a_cpu_s_zone_that_goes_is_not_replaced(tmp_path: Path) -> None:
    thermometer = linux.Thermometer(tmp_path)
    zone(tmp_path, 0, "nvme", 70000)
    assert thermometer() == 70, "there is no other"
    zone(tmp_path, 1, "cpu-thermal", 50000)
    assert thermometer() == 50
    shutil.rmtree(tmp_path / f"{ZONE}1")
    assert thermometer() is None


def test_the_hottest_of_several_cores(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu0-thermal", 50000)
    zone(tmp_path, 1, "cpu1-thermal", 61000)
    assert linux.Thermometer(tmp_path)() == 61


@pytest.mark.parametrize("bogus", [-650988784, "", "abc", 1e9, "nan", "inf", -274000])
def test_values_that_cannot_be(bogus: object, tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", bogus)
    zone(tmp_path, 1, "ambient", 21000)
    assert linux.Thermometer(tmp_path)() is None, "the room's is not the CPU's"


def test_hwmon(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            f"{HWMON}0/name": "nvme",
            f"{HWMON}0/temp1_input": 70000,
            f"{HWMON}1/name": "k10temp",
            f"{HWMON}1/temp1_input": 48125,
            f"{HWMON}1/temp1_label": "Tctl",
            f"{HWMON}1/temp2_input": 99000,
            f"{HWMON}1/temp2_fault": 1,
        },
    )
    assert linux.Thermometer(tmp_path)() == 48.125
    assert linux.Thermometer(tmp_path, "nvme")() == 70
    assert {sensor.name for sensor in linux.temperatures(tmp_path)} == {"nvme temp1", "k10temp Tctl", "k10temp temp2"}


# battery


def test_energy_and_power(tmp_path: Path) -> None:
    cell(tmp_path, "BAT0", status="Discharging", energy_now=30_000_000, energy_full=40_000_000, power_now=5_000_000)
    found = linux.battery(tmp_path)
    assert found is not None
    assert (found.share, found.left_wh, found.power_w, found.charging) == (0.75, 30, 5, False)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_a_current_says_nothing(sign: int, tmp_path: Path) -> None:
    state = {"charge_now": 2_000_000, "charge_full": 4_000_000, "voltage_now": 5_000_000, "current_now": sign * 600_000}
    cell(tmp_path, "BAT0", status="Discharging", **state)
    found = linux.battery(tmp_path)
    assert found is not None and found.power_w == pytest.approx(3) and found.charging is False
    assert found.share == pytest.approx(0.5) and found.full_wh == pytest.approx(20)
    cell(tmp_path, "BAT0", status="Charging", **state)
    found = linux.battery(tmp_path)
    assert found is not None and found.power_w is None and found.charging is True, "it is not what the device draws"


def test_only_a_percentage(tmp_path: Path) -> None:
    cell(tmp_path, "BAT0", capacity=42)
    found = linux.battery(tmp_path)
    assert found is not None and found.share == 0.42
    assert found.left_wh is found.full_wh is found.power_w is found.charging is None


def test_several_batteries_add_up_and_percentages_do_not(tmp_path: Path) -> None:
    cell(tmp_path, "BAT0", status="Unknown", energy_now=10_000_000, energy_full=10_000_000, capacity=100)
    cell(tmp_path, "BAT1", status="Discharging", energy_now=0, energy_full=30_000_000, capacity=0, power_now=9_000_000)
    found = linux.battery(tmp_path)
    assert found is not None and found.share == 0.25 and found.charging is False
    assert found.names == ("BAT0", "BAT1")
    named = linux.battery(tmp_path, "BAT1")
    assert named is not None and named.share == 0
    (tmp_path / SUPPLY / "BAT1/energy_now").unlink()
    (tmp_path / SUPPLY / "BAT1/energy_full").unlink()
    found = linux.battery(tmp_path)
    assert found is not None and found.share is None


def test_a_mouse_is_not_the_system_s_battery(tmp_path: Path) -> None:
    cell(tmp_path, "hid-mouse", scope="Device", capacity=80)
    tree(tmp_path, {f"{SUPPLY}AC/type": "Mains", f"{SUPPLY}AC/online": 1})
    assert linux.battery(tmp_path) is None
    cell(tmp_path, "BAT0", scope="System", capacity=50, status="Unknown")
    found = linux.battery(tmp_path)
    assert found is not None and found.names == ("BAT0",) and found.charging is True, "the mains are on"
    assert linux.battery(tmp_path, "none") is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"capacity": 101},
        {"capacity": -1},
        {"capacity": "nan"},
        {"energy_now": 90_000_000, "energy_full": 40_000_000},
        {"energy_now": -5, "energy_full": 40_000_000},
        {"charge_now": 1_000_000, "charge_full": 2_000_000},  # without a voltage
        {"energy_full": 0, "energy_now": 0},
        {"power_now": 0, "status": "Discharging"},
        {"power_now": 10**13, "status": "Discharging"},
    ],
)
def test_a_battery_that_makes_no_sense_is_unknown(attributes: dict[str, object], tmp_path: Path) -> None:
    cell(tmp_path, "BAT0", **attributes)
    found = linux.battery(tmp_path)
    assert found is not None and found.share is None and found.power_w is None


# throttling, supply, clock, load


@pytest.mark.parametrize(
    ("flags", "hot", "weak"),
    [("0", False, False), ("0x1", False, True), ("50005", True, True), ("8", True, False), ("f0000", False, False)],
)
def test_raspberry_pi_flags(flags: str, hot: bool, weak: bool, tmp_path: Path) -> None:
    tree(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": flags})
    assert (linux.throttled(tmp_path), linux.undervoltage(tmp_path)) == (hot, weak)


def test_other_signs_of_throttling_and_of_a_weak_supply(tmp_path: Path) -> None:
    assert linux.throttled(tmp_path) is None and linux.undervoltage(tmp_path) is None
    device = "sys/class/thermal/cooling_device"
    tree(tmp_path, {f"{device}0/type": "pwm-fan", f"{device}0/cur_state": 3})
    assert linux.throttled(tmp_path) is None, "a fan at work is no throttling"
    tree(tmp_path, {f"{device}1/type": "cpufreq-cpu0", f"{device}1/cur_state": 0})
    assert linux.throttled(tmp_path) is False
    tree(tmp_path, {f"{device}1/cur_state": 2, f"{HWMON}0/name": "rpi_volt", f"{HWMON}0/in0_lcrit_alarm": 1})
    assert linux.throttled(tmp_path) is True and linux.undervoltage(tmp_path) is True


def test_the_load_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("hydrart.device.linux.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("hydrart.device.linux.time.process_time", iter([1.0, 1.5]).__next__)
    second = os.sysconf("SC_CLK_TCK")
    load = linux.OthersLoad(tmp_path)
    assert load() is None, "there is no file"
    tree(tmp_path, {"proc/stat": f"cpu  0 0 0 {9 * second} 0 0 0 0 0 0"})
    assert load() is None, "there is nothing to compare with"
    tree(tmp_path, {"proc/stat": f"cpu  {second} 0 {second} {9 * second} {second} {second} 0 0 {second} 0"})
    assert load() == pytest.approx((3 - 0.5) / 2), "three seconds of work, of which half a second was ours, in two"


def test_nothing_is_read_without_end(tmp_path: Path) -> None:
    zone(tmp_path, 0, "x" * 100_000, 40000)
    assert len(linux.temperatures(tmp_path)[0].name) <= 4096


def test_this_machine() -> None:
    found = survey()
    assert list(found) == [
        "temperatures", "temp_c", "battery", "throttled", "undervoltage", "frequency_mhz", "others_load"
    ]  # fmt: skip
    assert "no answer" not in found.values()


# in threads


def test_values_arrive_once_and_stay(tmp_path: Path) -> None:
    sensors(tmp_path)
    with Sensors(root=tmp_path) as running:
        until(lambda: "battery" in running.latest() and "throttled" in running.latest())
        news = running.news()
        assert news["battery"] == 0.5 and news["power_w"] == 6 and news["charging"] is False
        assert "battery" not in running.news(), "told already"
        assert running.latest()["battery"] == 0.5 and running.latest()["capacity_wh"] == 40
        until(lambda: "temp_c" in running.latest())
        governor = hydrart.Governor(Profile((ProfileRow(3, 1.0),)), fps=15)
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


def test_what_a_callback_returns_is_checked() -> None:
    wrong = {"temp_c": 900, "battery": float("nan"), "power_w": "3", "charging": 1, "capacity_wh": True}
    assert checked(wrong) == {}
    with pytest.raises(ValueError, match="'temp' is no sensor: use temp_c"):
        checked({"temp": 3})


# commands


def script(path: Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print(64)", {"battery": 0.64}),
        ("print('{\"battery\": 0.5, \"power_w\": 3.5, \"charging\": true}')",
         {"battery": 0.5, "power_w": 3.5, "charging": True}),
    ],
)  # fmt: skip
def test_a_battery_command(text: str, told: dict[str, Any], tmp_path: Path) -> None:
    assert Command(script(tmp_path / "board", text))() == told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("print('full')", "neither a percentage nor a JSON object"),
        ("print('[' * 100000)", "neither a percentage nor a JSON object"),
        ("print(True)", "neither a percentage nor a JSON object"),
        ("", "neither a percentage nor a JSON object"),
    ],
)
def test_a_battery_command_that_fails(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=words):
        Command(script(tmp_path / "board", text))()


def test_a_battery_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_COMMAND_S", 1.0)
    pid = tmp_path / "pid"
    command = Command(script(tmp_path / "board", f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"
                                                 "time.sleep(1000)"))  # fmt: skip
    with pytest.raises(RuntimeError, match="took longer than 1 s"):
        command()
    if pid.exists() and pid.read_text():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_battery_command_that_is_none(tmp_path: Path) -> None:
    for command in ("", "  ", "'"):
        with pytest.raises(SettingError, match="is no command"):
            Sensors(battery_cmd=command)
    with pytest.raises(RuntimeError, match="cannot be run: No such file"):
        Command("/nowhere/board")()
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


def test_goals_of_a_run_that_cannot_be(weights: Path, tmp_path: Path) -> None:
    profile = tmp_path / "hot.yaml"
    profile.write_text("thermal: {ambient_c: 35, stages: [{r_c_per_w: 4, tau_s: 60}]}\n")
    args = ("run", "--source", "demo", "--weights", weights)
    assert "not above the ambient" in sentence(*args, "--device", profile, "--max-temp", 30)
    assert "is no command" in sentence(*args, "--battery-cmd", " ")
    assert "is no folder" in sentence(*args, "--sensor-root", tmp_path / "nowhere")
