"""Device profiles, `devices/*.yaml`: what a device is known to do before the governor has seen it run."""

import os
from dataclasses import dataclass
from typing import Any

import yaml

from hydrart.errors import ProfileError
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


@dataclass(frozen=True)
class Device:
    """name; description: where the figures come from; latency_ms: k -> milliseconds, idle and cool; power_w: k ->
    watts while running; idle_w: watts at rest, None where unknown."""

    name: str
    description: str
    latency_ms: dict[int, float]
    power_w: dict[int, float]
    idle_w: float | None


def load_device(name: str | os.PathLike[str]) -> Device:
    """A profile by the name of one that ships, or by path. Raises ProfileError."""
    path = find(name, "devices", ".yaml", ProfileError)
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ProfileError(f"{path} is not YAML: see devices/generic.yaml for an example") from None
    if not isinstance(entries, dict):
        raise ProfileError(f"{path} is no mapping: see devices/generic.yaml for an example")
    for key, value in entries.items():
        if key not in _KEYS:
            raise ProfileError(f"{path} has an unknown entry {str(key)[:40]!r}: {suggestion(str(key), _KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ProfileError(f"{path}: {key} must be a {'text' if _KEYS[key] is str else 'mapping'}")
    power = dict(entries.get("power_w", {}))
    idle = power.pop("idle", None)
    return Device(
        name=entries.get("name", path.stem),
        description=entries.get("description", ""),
        latency_ms=_by_k(entries.get("latency_ms", {}), f"{path}: latency_ms"),
        power_w=_by_k(power, f"{path}: power_w"),
        idle_w=None if idle is None else _positive(idle, f"{path}: power_w of idle"),
    )


def _by_k(table: dict[Any, Any], where: str) -> dict[int, float]:
    for k in table:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ProfileError(f"{where} has an entry for k={str(k)[:20]!r}: use whole numbers of heads")
    return {k: _positive(value, f"{where} of {k}") for k, value in sorted(table.items())}


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        shown = repr(str(value)[:20]) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
        raise ProfileError(f"{where} is {shown}: give a positive number")
    return float(value)
