"""Trees of files as Linux has them, right and wrong."""

import os
import shutil
from pathlib import Path

import pytest

from hydrart.device import linux
from tests.support.commands import tree

ZONE, HWMON, SUPPLY = "sys/class/thermal/thermal_zone", "sys/class/hwmon/hwmon", "sys/class/power_supply/"


def zone(root: Path, number: int, kind: str, temp: object) -> None:
    tree(root, {f"{ZONE}{number}/type": kind, f"{ZONE}{number}/temp": temp})


def cell(root: Path, name: str, **attributes: object) -> None:
    tree(root, {f"{SUPPLY}{name}/{key}": value for key, value in ({"type": "Battery"} | attributes).items()})


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


@pytest.mark.parametrize("bogus", [-650988784, "", "abc", 1e9, "nan", "inf", -274000, 0, -1, 450, 255])
def test_values_that_cannot_be(bogus: object, tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", bogus)
    zone(tmp_path, 1, "ambient", 21000)
    assert linux.Thermometer(tmp_path)() is None, "the room's is not the CPU's"


def test_a_zone_in_whole_degrees(tmp_path: Path) -> None:
    thermometer = linux.Thermometer(tmp_path)
    read = []
    for temp in (45, 61, 110, 0, 71_500, 45, 0, -500, 900):
        zone(tmp_path, 0, "cpu-thermal", temp)
        read.append(thermometer())
    assert read == [45, 61, 110, None, 71.5, 0.045, 0, -0.5, 0.9], "what once gave thousandths always does"
    assert [sensor.celsius for sensor in linux.temperatures(tmp_path)] == [None]


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
            f"{HWMON}1/temp3_input": 98000,
            f"{HWMON}1/temp3_enable": 0,
        },
    )
    assert linux.Thermometer(tmp_path)() == 48.125
    assert linux.Thermometer(tmp_path, "nvme")() == 70
    assert {sensor.name for sensor in linux.temperatures(tmp_path)} == {
        "nvme temp1",
        "k10temp Tctl",
        "k10temp temp2",
        "k10temp temp3",
    }


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


@pytest.mark.parametrize(
    ("attributes", "share", "full_wh"),
    [
        ({"capacity": 103}, 1.0, None),
        ({"charge_now": 1_500_000, "charge_full": 2_000_000}, 0.75, None),  # without a voltage
        ({"charge_now": 1_500_000, "charge_full_design": 2_000_000}, 0.75, None),
        ({"charge_now": 1500, "charge_full": 2000, "voltage_now": 3700}, 0.75, None),  # mAh and mV
        ({"charge_now": 1500, "charge_full": 2000, "voltage_now": 3_700_000}, 0.75, None),  # mAh
        ({"energy_now": 30_000, "energy_full": 40_000}, 0.75, None),  # mWh
        ({"energy_now": 41_000_000, "energy_full": 40_000_000}, 1.0, 40.0),
        ({"energy_now": 0, "energy_full": 40_000_000, "capacity": 60}, 0.6, 40.0),  # a driver that has no energy_now
        ({"energy_now": 0, "energy_full": 40_000_000, "capacity": 0}, 0.0, 40.0),
        ({"energy_now": 90_000_000, "energy_full": 40_000_000, "capacity": 60}, 0.6, 40.0),
    ],
)
def test_units_and_sentinels_of_a_gauge(
    attributes: dict[str, object], share: float, full_wh: float | None, tmp_path: Path
) -> None:
    cell(tmp_path, "BAT0", status="Discharging", **attributes)
    found = linux.battery(tmp_path)
    assert found is not None and found.share == pytest.approx(share) and found.full_wh == full_wh
    assert found.left_wh == (None if full_wh is None else pytest.approx(share * full_wh))


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
        {"capacity": 255},
        {"capacity": -1},
        {"capacity": "nan"},
        {"energy_now": 90_000_000, "energy_full": 40_000_000},
        {"energy_now": -5, "energy_full": 40_000_000},
        {"energy_full": 0, "energy_now": 0},
        {"power_now": 0, "status": "Discharging"},
        {"power_now": 10**13, "status": "Discharging"},
        {"power_now": 5000, "status": "Discharging"},  # mW
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
    assert load() == pytest.approx((3 - 0.5) / 2), "three seconds of work in two, half a second of it ours"


def test_nothing_is_read_without_end(tmp_path: Path) -> None:
    zone(tmp_path, 0, "x" * 100_000, 40000)
    assert len(linux.temperatures(tmp_path)[0].name) <= 4096
