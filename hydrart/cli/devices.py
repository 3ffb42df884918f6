"""hydrart devices"""

import os
from dataclasses import asdict
from typing import Any

import click

from hydrart.cli.errors import Failure, one_sentence
from hydrart.cli.options import json_option, print_json, printable
from hydrart.device.profiles import load_device
from hydrart.device.sensors import survey
from hydrart.resources import bundled


@click.command()
@click.option("--here", is_flag=True, help="Show what this machine's sensors tell instead.")
@click.option("--sensor-root", default="/", metavar="DIR", help="Where sys and proc lie.")
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
            click.echo(_here(found))
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
            click.echo(f"{name:20} {span:36} {device.description}")


def _here(found: dict[str, Any]) -> str:
    lines = []
    sensors = found["temperatures"]
    if isinstance(sensors, str):
        lines.append(f"temperatures     {sensors}")
    elif not sensors:
        lines.append("temperatures     none: no thermal zone, no hwmon sensor")
    else:
        lines += [f"temperature      {_value(s['celsius'], '.1f', ' C'):12} {printable(s['name'])}" for s in sensors]
        lines.append(f"  taken          {_value(found['temp_c'], '.1f', ' C')}")
    battery = found["battery"]
    if battery is None or isinstance(battery, str):
        lines.append(f"battery          {battery or 'none: --battery-cmd or a callback reads a battery board'}")
    else:
        lines.append(
            f"battery          {_value(battery['share'], '.0%')}, {_value(battery['left_wh'], '.1f')} of "
            f"{_value(battery['full_wh'], '.1f', ' Wh')}, draws {_value(battery['power_w'], '.2f', ' W')}, "
            f"{_value(battery['charging'], 'charging')} ({printable(', '.join(battery['names']))})"
        )
    lines.append(f"throttled        {_value(found['throttled'], 'throttled')}")
    lines.append(f"supply           {_value(found['undervoltage'], 'under-voltage')}")
    lines.append(f"clock            {_value(found['frequency_mhz'], '.0f', ' MHz')}")
    lines.append(f"other programs   {_value(found['others_load'], '.2f', ' cores')}")
    return "\n".join(lines)


def _value(value: Any, form: str, unit: str = "") -> str:
    """A number with its unit; of a flag, what it says; what did not answer, as that."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return form if value else f"not {form}"
    return f"{value:{form}}{unit}"
