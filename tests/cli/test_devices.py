"""hydrart devices"""

import json
from pathlib import Path

from tests.support.commands import good, json_lines, sensors, sentence


def test_devices() -> None:
    shown = good("devices")
    assert any(line.startswith("generic ") for line in shown.stdout.splitlines()) and not shown.stderr
    listed = json_lines(good("devices", "--json").stdout)
    assert len(listed) == len(shown.stdout.splitlines())
    for device in listed:
        known = "name description latency_ms power_w idle_w jitter thermal capacity_wh sensors"
        assert list(device) == known.split()


def test_devices_here(tmp_path: Path) -> None:
    sensors(tmp_path)
    shown = good("devices", "--here", "--sensor-root", tmp_path).stdout
    assert "51.2 C" in shown and "cpu-thermal" in shown and "50%, 20.0 of 40.0 Wh, draws 6.00 W" in shown
    assert "\nthrottled        throttled\n" in shown and "not under-voltage" in shown and "1500 MHz" in shown
    found = json.loads(good("devices", "--here", "--sensor-root", tmp_path, "--json").stdout)
    assert found["temp_c"] == 51.2 and found["battery"]["share"] == 0.5 and found["throttled"] is True
    assert "none: no thermal zone" in good("devices", "--here", "--sensor-root", tmp_path / "sys").stdout
    assert "is no folder" in sentence("devices", "--here", "--sensor-root", tmp_path / "nowhere")
