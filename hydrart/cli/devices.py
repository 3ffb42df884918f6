"""hydrart devices"""

import os
from dataclasses import asdict
from typing import Any

import click

from hydrart.cli.exit_codes import Failure, one_sentence
from hydrart.cli.options import json_option, print_json, print_text
from hydrart.device.profiles import load_device
from hydrart.device.sensors import survey
from hydrart.output.text import printable
from hydrart.readings import READINGS, View, shown
from hydrart.resources import bundled


@click.command()
@click.option("--here", is_flag=True, help="Show this machine's sensors instead.")
@click.option("--sensor-root", default="/", metavar="DIR", help="Folder that holds sys and proc.")
@json_option
@one_sentence
def devices(here: bool, sensor_root: str, as_json: bool) -> None:
    """List the device profiles that ship."""
    if here:
        if not os.path.isdir(sensor_root):
            raise Failure(f"{sensor_root} is no folder: give the one that holds sys and proc")
        found = survey(sensor_root)
        if as_json:
            print_json(found)
        else:
            print_text(_here(found))
        return
    for name in bundled("devices", ".yaml"):
        device = load_device(name)
        if as_json:
            print_json(asdict(device))
        else:
            ks = list(device.latency_ms)
            span = "no latencies"
            if ks:
                low, high = device.latency_ms[ks[0]], device.latency_ms[ks[-1]]
                span = f"k={ks[0]}: {low:g} ms to k={ks[-1]}: {high:g} ms"
            print_text(f"{name:20} {span:36} {device.description}")


def _here(found: dict[str, Any]) -> str:
    lines = []
    sensors = found["temperatures"]
    if isinstance(sensors, str):
        lines.append(f"temperatures     {sensors}")
    elif not sensors:
        lines.append("temperatures     none: no thermal zone, no hwmon sensor")
    else:
        lines += [f"temperature      {_text('temp_c', s['celsius']):12} {printable(s['name'])}" for s in sensors]
        lines.append(f"  taken          {_text('temp_c', found['temp_c'])}")
    battery = found["battery"]
    if battery is None or isinstance(battery, str):
        lines.append(f"battery          {battery or 'none: --battery-cmd or a callback reads a battery board'}")
    else:
        left = "unknown" if battery["left_wh"] is None else f"{battery['left_wh']:.1f}"
        lines.append(
            f"battery          {_text('battery', battery['share'])}, {left} of "
            f"{_text('capacity_wh', battery['full_wh'])}, draws {_text('power_w', battery['power_w'])}, "
            f"{_text('charging', battery['charging'])} ({printable(', '.join(battery['names']))})"
        )
    for name, reading in shown(View.HERE).items():
        if name not in ("temp_c", "battery"):  # they stand above, with more
            lines.append(f"{reading.title:16} {_text(name, found[name])}")
    return "\n".join(lines)


def _text(name: str, value: Any) -> str:
    """A reading for people; what did not answer in time, as that."""
    return value if isinstance(value, str) else READINGS[name].text(value)
