"""Device profiles, `devices/*.yaml`: what is known of a device before the governor observes it."""

import math
import os
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from hydrart.errors import ProfileError
from hydrart.governor.points import Jitter, Stage, Thermal
from hydrart.readings import READINGS
from hydrart.resources import find, suggestion

_KEYS = {
    "name": str,
    "description": str,
    "latency_ms": dict,
    "power_w": dict,
    "jitter": dict,
    "thermal": dict,
    "battery": dict,
    "sensors": dict,
}
AMBIENT_RANGE_C = (-60.0, 80.0)  # possible temperatures of the air around a device
_MOST_HEADS = 64  # of any network
_MOST_BYTES = 1_000_000  # of a file
_NOISE = 0.9  # noise may make a larger k seem this much faster than a smaller one; with less the table is wrong


class _TwiceError(Exception):
    """A mapping has a key twice. YAML forbids it, and PyYAML would take the last one."""

    def __init__(self, key: Any) -> None:
        self.key = key


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable):  # other keys are refused below
                if name in seen:
                    raise _TwiceError(name)
                seen.add(name)
        return dict(super().construct_mapping(node, deep))


@dataclass(frozen=True)
class SensorNames:
    """Which sensors to read.

    - thermal: a thermal zone's type, "auto" or "none".
    - battery: a power supply's name, "auto" or "none".
    """

    thermal: str = "auto"
    battery: str = "auto"


@dataclass(frozen=True)
class Device:
    """A device profile. An unknown value is None, or absent from its table.

    - name: of the device.
    - description: where the figures come from.
    - latency_ms: k -> latency on the idle, cool device, in milliseconds.
    - power_w: k -> power of the whole device while k runs, in watts.
    - idle_w: power of the whole device at rest, in watts.
    - jitter, thermal: how latency scatters; how the device warms up.
    - capacity_wh: energy of the full battery, in watt-hours.
    - sensors: which sensors to read.
    """

    name: str
    description: str
    latency_ms: dict[int, float]
    power_w: dict[int, float]
    idle_w: float | None
    jitter: Jitter
    thermal: Thermal | None
    capacity_wh: float | None
    sensors: SensorNames


def load_device(name: str | os.PathLike[str]) -> Device:
    """Read a profile: the name of one that ships, or a path. Raises ProfileError."""
    if not isinstance(name, str | os.PathLike):
        raise ProfileError(f"device={name!r:.80} is no device profile: pass a path, or the name of one that ships")
    path = find(name, "devices", ".yaml", ProfileError)
    entries = load_yaml(path, "devices/generic.yaml")
    _known(entries, _KEYS, str(path))
    for key, value in entries.items():
        if not isinstance(value, _KEYS[key]):
            raise ProfileError(f"{path}: {key} must be a {'text' if _KEYS[key] is str else 'mapping'}")
    power, where = dict(entries.get("power_w", {})), f"{path}: power_w"
    idle = power.pop("idle", None)
    battery = entries.get("battery", {})
    _known(battery, ("capacity_wh",), f"{path}: battery")
    device = Device(
        name=entries.get("name", path.stem),
        description=entries.get("description", ""),
        latency_ms=by_k(entries.get("latency_ms", {}), f"{path}: latency_ms"),
        power_w={k: _bounded(watts, f"{path}: power_w of {k}", "power_w") for k, watts in by_k(power, where).items()},
        idle_w=None if idle is None else _bounded(idle, f"{where} of idle", "power_w"),
        jitter=_jitter(entries.get("jitter", {}), f"{path}: jitter"),
        thermal=_thermal(entries["thermal"], f"{path}: thermal") if "thermal" in entries else None,
        capacity_wh=_bounded(
            _entry(battery, "capacity_wh", f"{path}: battery"), f"{path}: battery: capacity_wh", "capacity_wh"
        )
        if battery
        else None,
        sensors=_sensors(entries.get("sensors", {}), f"{path}: sensors"),
    )
    for what, table in (("latency_ms", device.latency_ms), ("power_w", device.power_w)):
        for k, larger in pairwise(table):
            if table[larger] < _NOISE * table[k]:
                raise ProfileError(
                    f"{path}: {what} of {larger} is below that of {k}: a larger network costs more, so measure again"
                )
    if device.idle_w is not None and device.power_w and device.idle_w > min(device.power_w.values()):
        raise ProfileError(f"{path}: power_w of idle is above that of running: give watts of the whole device")
    return device


def load_yaml(path: Path, example: str) -> dict[Any, Any]:
    """Read the mapping in a YAML file. example: a file that the message refers to. Raises ProfileError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ProfileError(
                f"{path} is not YAML, it is larger than {_MOST_BYTES} bytes: see {example} for an example"
            )
        entries = yaml.load(data.decode("utf-8"), _Loader)
    except _TwiceError as error:
        raise ProfileError(f"{path} has the entry {short(error.key)} twice: leave one of them out") from None
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ProfileError(f"{path} is not YAML: see {example} for an example") from None
    if not isinstance(entries, dict):
        raise ProfileError(f"{path} is no mapping: see {example} for an example")
    return entries


def by_k(table: dict[Any, Any], where: str) -> dict[int, float]:
    """Check a table k -> positive number and sort it by k. where: for messages. Raises ProfileError."""
    for k in table:
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= _MOST_HEADS:
            raise ProfileError(f"{where} has an entry for k={short(k)}: use whole numbers of heads")
    return {k: positive(value, f"{where} of {k}") for k, value in sorted(table.items())}


def positive(value: Any, where: str) -> float:
    """Check that the value is a number above 0. where: for messages. Raises ProfileError."""
    return _number(value, where, math.ulp(0), 1e9, "give a positive number")


def _bounded(value: Any, where: str, reading: str) -> float:
    """A positive number that the reading may have: watts and watt-hours, not thousandths of them."""
    row = READINGS[reading]
    advice = f"give a positive number in {row.unit}, {row.high:g} at most"
    return _number(value, where, math.ulp(0), row.high, advice)


def _number(value: Any, where: str, low: float, high: float, advice: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ProfileError(f"{where} is {short(value)}: {advice}")
    return float(value)


def short(value: Any) -> str:
    """What a YAML file holds in place of a number, for messages. A whole number may have millions of digits."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number far too large"
    return repr(str(value)[:20]) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _entry(table: dict[Any, Any], key: str, where: str, low: float = math.ulp(0), high: float = 1e9) -> float:
    """The number of a required entry. Raises ProfileError where it is absent or outside low to high."""
    if key not in table:
        raise ProfileError(f"{where} has no {key}: add it")
    advice = f"give a number from {low:g} to {high:g}" if low > math.ulp(0) or low <= 0 else "give a positive number"
    return _number(table[key], f"{where}: {key}", low, high, advice)


def _known(table: Any, keys: Any, where: str) -> None:
    for key in table:
        if key not in keys:
            name = str(key) if isinstance(key, str) else short(key)
            raise ProfileError(f"{where} has an unknown entry {name[:40]!r}: {suggestion(name, keys)}")


def _jitter(table: dict[Any, Any], where: str) -> Jitter:
    ranges = {"sigma": (0.0, 2.0), "tail_p": (0.0, 0.5), "tail_x": (1.0, 100.0)}
    _known(table, ranges, where)
    return Jitter(**{key: _entry(table, key, where, *ranges[key]) for key in table})


def _thermal(table: dict[Any, Any], where: str) -> Thermal:
    _known(table, ("ambient_c", "stages", "throttle_c", "throttle_x"), where)
    ambient = _entry(table, "ambient_c", where, *AMBIENT_RANGE_C)
    stages = table.get("stages")
    if not isinstance(stages, list) or not 1 <= len(stages) <= 8:
        raise ProfileError(f"{where}: stages must be a list of 1 to 8 entries such as {{r_c_per_w: 3.1, tau_s: 3}}")
    parsed = []
    for number, stage in enumerate(stages, 1):
        place = f"{where}: stage {number}"
        if not isinstance(stage, dict):
            raise ProfileError(f"{place} must be a mapping such as {{r_c_per_w: 3.1, tau_s: 3}}")
        _known(stage, ("r_c_per_w", "tau_s"), place)
        parsed.append(Stage(_entry(stage, "r_c_per_w", place), _entry(stage, "tau_s", place)))
    limit = _entry(table, "throttle_c", where, -60, 200) if "throttle_c" in table else None
    if limit is not None and limit <= ambient:
        raise ProfileError(f"{where}: throttle_c is {limit:g}, not above ambient_c: give the CPU's limit")
    factor = _entry(table, "throttle_x", where, 1, 100) if "throttle_x" in table else 1.0
    return Thermal(ambient, tuple(sorted(parsed, key=lambda stage: stage.tau_s)), limit, factor)


def _sensors(table: dict[Any, Any], where: str) -> SensorNames:
    _known(table, ("thermal", "battery"), where)
    for key, value in table.items():
        if not isinstance(value, str):
            raise ProfileError(f"{where}: {key} must be a text: auto, none or the sensor's name")
    return SensorNames(**table)
