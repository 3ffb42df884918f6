"""Latencies in a device profile."""

from pathlib import Path

import pytest

from hydrart.bench import save
from hydrart.device.profiles import load_device
from hydrart.errors import ProfileError


def test_saving_keeps_what_a_profile_holds(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(
        "name: böard\nlatency_ms: {3: 9.0, 7: 70.0}\npower_w: {idle: 2.1, 3: 4.0}\nsensors: {battery: auto}\n"
    )
    save.save_latencies(path, {12: 123.456, 3: 4.00012}, "what was measured")
    device = load_device(path)
    assert device.latency_ms == {3: 4.0, 7: 70.0, 12: 123.5} and device.power_w == {3: 4.0} and device.idle_w == 2.1
    assert device.name == "böard" and device.description == "what was measured"
    assert (
        "sensors: {battery: auto}" in path.read_text()
        and "latency_ms: {3: 4.0, 7: 70.0, 12: 123.5}" in path.read_text()
    )
    save.save_latencies(path, {3: 5.0}, "something else")
    assert load_device(path).description == "what was measured" and load_device(path).latency_ms[3] == 5.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["board.yaml"]


def test_a_profile_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- 3\n")
    with pytest.raises(ProfileError, match="is no mapping"):
        save.save_latencies(path, {3: 1.0}, "")
    assert path.read_text() == "- 3\n"
