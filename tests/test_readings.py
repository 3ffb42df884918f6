"""The table of readings: bounds, text for people, and a made-up reading that reaches every place by its row alone."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.device.profiles import SensorNames
from hydrart.device.readers import READERS, Read, SensorReader
from hydrart.device.sensors import Sensors
from hydrart.governor.points import OperatingPoint, Profile
from hydrart.output.history import History
from hydrart.output.terminal import line
from hydrart.readings import READINGS, Reading, View, plausible
from tests.support.commands import good, sensors
from tests.support.dashboards import page

EVERYWHERE = View.LINE | View.TERMINAL | View.PAGE | View.HERE


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temp_c", -40, -40.0),
        ("temp_c", np.float32(51.5), 51.5),
        ("temp_c", 150.01, None),
        ("temp_c", float("nan"), None),
        ("temp_c", float("inf"), None),
        ("temp_c", "50", None),
        ("temp_c", True, None),
        ("temp_c", None, None),
        ("battery", 1, 1.0),
        ("battery", 1.001, None),
        ("power_w", -0.1, None),
        ("capacity_wh", 0, None),
        ("charging", False, False),
        ("charging", 1, None),
    ],
)
def test_a_value_that_cannot_be_is_unknown(name: str, value: object, expected: object) -> None:
    found = READINGS[name].plausible(value)
    assert found == expected and type(found) is type(expected)
    assert plausible({name: value}) == ({} if expected is None else {name: expected})


def test_text_for_people() -> None:
    texts = {name: READINGS[name].text(0.5) for name in ("temp_c", "battery", "power_w", "others_load")}
    assert texts == {"temp_c": "0.5 C", "battery": "50%", "power_w": "0.50 W", "others_load": "0.50 cores"}
    assert READINGS["undervoltage"].text(True) == "under-voltage"
    assert READINGS["charging"].text(False) == "not charging"
    assert READINGS["temp_c"].text(None) == "unknown"


def test_the_rows_make_sense() -> None:
    for name, row in READINGS.items():
        assert row.reader in READERS, name
        assert bool(row.flag) != bool(row.unit) and (row.is_flag or row.low < row.high), name
        assert row.fresh_s > READERS[row.reader].every_s, f"{name} would be stale before it is read again"
        assert not row.views & View.PAGE or row.views & View.LINE, f"the page takes {name} from the line"
    metrics = [row.metric for row in READINGS.values() if row.metric is not None]
    assert len(set(metrics)) == len(metrics)


def test_the_governor_takes_every_row_and_nothing_else() -> None:
    governor = hydrart.Governor(Profile((OperatingPoint(3, 1.0),)), fps=15)
    governor.observe(0.0, 3, 1.0, **{name: True if row.is_flag else row.high for name, row in READINGS.items()})
    with pytest.raises(TypeError, match="'temp' is no reading: use temp_c, "):
        governor.observe(1.0, temp=50.0)


# One row and one reader.

FAN = Reading(
    "speed of the fan",
    "fan",
    fresh_s=10,
    title="fan",
    unit="rpm",
    low=0,
    high=20_000,
    views=EVERYWHERE,
    line_decimals=1,
    metric="fan_rpm",
)


def read_fan(root: Path, names: SensorNames) -> Read:
    return lambda: {"fan_rpm": float((root / "fan").read_text())}


@pytest.fixture
def fan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a machine whose fan turns at 1234.56 rpm, with a row and a reader for it."""
    sensors(tmp_path)
    (tmp_path / "fan").write_text("1234.56\n")
    monkeypatch.setitem(READINGS, "fan_rpm", FAN)
    monkeypatch.setitem(READERS, "fan", SensorReader(read_fan))
    return tmp_path


def test_a_new_sensor_is_in_the_json_lines(fan: Path, weights: Path) -> None:
    args = ("run", "--json", "--source", "demo", "--weights", weights, "--fps", 30, "--max-frames", 60)
    *frames, _ = map(json.loads, good(*args, "--sensor-root", fan).stdout.splitlines())
    assert frames[-1]["fan_rpm"] == 1234.6
    (fan / "fan").write_text("1e9\n")
    *frames, _ = map(json.loads, good(*args, "--sensor-root", fan).stdout.splitlines())
    assert all(frame["fan_rpm"] is None for frame in frames), "a value that cannot be is null"


def test_a_new_sensor_is_among_this_machine_s(fan: Path) -> None:
    shown_here = ("devices", "--here", "--sensor-root", fan)
    assert "\nfan              1235 rpm" in good(*shown_here).stdout
    assert json.loads(good(*shown_here, "--json").stdout)["fan_rpm"] == 1234.56


def test_a_new_sensor_is_on_the_terminal(fan: Path, model: hydrart.Model) -> None:
    (result,) = hydrart.Stream([np.zeros((8, 8, 3), np.uint8)], model, sensors=_read(fan))
    history = History()
    history.add(result)
    assert line(result, history, 12).endswith("fan 1235 rpm")


def test_a_new_sensor_is_on_the_page_and_in_the_metrics(fan: Path, model: hydrart.Model) -> None:
    with page(model, sensors=_read(fan)) as running:
        _, body, _ = running.ask("/history")
        history = json.loads(body)
        assert {"name": "fan_rpm", "title": "fan", "factor": 1.0, "unit": "rpm", "decimals": 0} in history["readings"]
        assert history["points"][-1]["fan_rpm"] == 1234.6
        assert b'"fan_rpm": 1234.6' in running.read("/events", lambda data: b'"fan_rpm"' in data)
        assert b"# HELP hydrart_fan_rpm Speed of the fan.\n" in running.ask("/metrics")[1]


def _read(root: Path) -> Sensors:
    """Sensors that have read the fan once."""
    running = Sensors(root=root)
    with running:
        while "fan_rpm" not in running.latest():  # a hang ends the test
            time.sleep(0.01)
    return running
