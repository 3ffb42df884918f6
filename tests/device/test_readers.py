"""Readers: the system's batteries over time, commands, and whatever hangs."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hydrart.device import readers
from hydrart.device.profiles import SensorNames
from hydrart.device.readers import READERS, Command, Gauge
from hydrart.errors import SettingError
from hydrart.readings import READINGS
from tests.support.commands import sensors, tree


def test_each_reader_gives_readings_of_the_table(tmp_path: Path) -> None:
    sensors(tmp_path)
    given = {}
    for name, reader in READERS.items():
        for reading in reader.open(tmp_path, SensorNames())():
            given[reading] = name
    assert given == {name: row.reader for name, row in READINGS.items()}, "each row names the reader that gives it"


def test_power_is_derived_from_the_falling_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("hydrart.device.readers.time.monotonic", lambda: clock[0])
    cell = "sys/class/power_supply/BAT0"
    tree(tmp_path, {f"{cell}/type": "Battery", f"{cell}/status": "Discharging", f"{cell}/energy_full": 40_000_000})
    gauge = Gauge(tmp_path, "auto")
    powers = []
    for step in range(8):  # 6 W are 100 mWh a minute
        clock[0] = 20.0 * step
        tree(tmp_path, {f"{cell}/energy_now": round(20_000_000 - 6e6 * clock[0] / 3600)})
        powers.append(gauge()["power_w"])
    assert powers[:3] == [None] * 3 and powers[3:] == [pytest.approx(6, rel=1e-3)] * 5
    tree(tmp_path, {f"{cell}/status": "Charging"})
    assert gauge()["power_w"] is None
    tree(tmp_path, {f"{cell}/status": "Discharging"})
    assert gauge()["power_w"] is None, "what was before the charging does not count"


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
        ("print('87%')", {"battery": 0.87}),
        ("print('  87.5 %  ')", {"battery": 0.875}),
        ("print('87,5')", {"battery": 0.875}),
        ("print(1)", {"battery": 0.01}),
        ("print(0.87)", {"battery": 0.87}),
        ("print(103)", {"battery": 1.0}),
        ("print('{\"battery\": 87}')", {"battery": 0.87}),
        ("print('{\"battery\": \"87%\"}')", {"battery": 0.87}),
        ("print('{\"battery\": 1}')", {"battery": 1.0}),
        ("print('{\"battery\": 1.04}')", {"battery": 1.0}),
        ("print('{\"battery\": null}')", {"battery": None}),
    ],
)  # fmt: skip
def test_a_battery_command(text: str, told: dict[str, Any], tmp_path: Path) -> None:
    assert Command(script(tmp_path / "board", text))() == told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("print('full')", "board printed 'full', in which there is no number: print the charge in percent, such as"),
        ("print(3700)", "printed '3700', which does not lie between 0 and 100 %: print the charge"),
        ("print('-5%')", "printed '-5%', which does not lie between 0 and 100 %: print the charge"),
        ("print('nan')", "printed 'nan', in which there is no number: print the charge"),
        ("print('[87]')", r"printed '\[87\]', which is no number: print the charge"),
        ("print('{\"battery\": 0.5')", "which does not say that it is the charge: print the charge"),
        ("while True: print('x' * 100000)", "printed more than 1048576 bytes"),
        ("print('[' * 100000)", "in which there is no number: print the charge"),
        ("print(True)", "printed 'True', in which there is no number: print the charge"),
        ("", "printed nothing, in which there is no number: print the charge"),
    ],
)
def test_a_battery_command_that_fails(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=words):
        Command(script(tmp_path / "board", text))()


def test_a_battery_command_that_goes_on_after_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_COMMAND_S", 1.0)
    command = Command(
        script(tmp_path / "board", "import os, time\nprint(5, flush=True)\nos.close(1)\ntime.sleep(1000)")
    )
    with pytest.raises(RuntimeError, match="took longer than 1 s"):
        command()


def test_a_battery_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_COMMAND_S", 1.0)
    pid = tmp_path / "pid"
    command = Command(script(tmp_path / "board", f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"
                                                 "time.sleep(1000)"))  # fmt: skip
    with pytest.raises(RuntimeError, match="took longer than 1 s"):
        command()
    if pid.exists() and pid.read_text():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_battery_command_that_is_none() -> None:
    for command in ("", "  ", "'", None, 3, b"echo 87"):
        with pytest.raises(SettingError, match="is no command"):
            Command(command)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="cannot be run: No such file"):
        Command("/nowhere/board")()
