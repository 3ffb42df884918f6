"""Check the types of a stream's settings before anything long begins."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hydrart.device.sensors import Sensors
from hydrart.errors import SettingError
from hydrart.governor.governor import Governor
from hydrart.governor.points import is_number


class _Rule(NamedTuple):
    """A test of a setting, and the rest of the sentence for a value that fails it."""

    holds: Callable[[Any], bool]
    otherwise: str


def _is_time(value: Any) -> bool:
    return (is_number(value) and value >= 0) or (isinstance(value, float) and value == math.inf)


def _is_one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in words


_FLAG = _Rule(lambda value: isinstance(value, bool), "is no bool: pass True or False")
_FUNCTION = _Rule(callable, "is no function: pass one, or leave it out")
_RULES = {
    "frames": _Rule(_is_one_of("latest", "all"), "is unknown: choose latest or all"),
    "on_loss": _Rule(_is_one_of("reconnect", "exit"), "is unknown: choose reconnect or exit"),
    "smooth": _Rule(
        lambda value: is_number(value) and value >= 1 and value == int(value),
        "is no number of frames: pass 1 or more, a whole number",
    ),
    "wait_s": _Rule(_is_time, "is no time: pass 0 or more seconds"),
    "patience_s": _Rule(lambda value: _is_time(value) and value > 0, "is no time: pass a positive number of seconds"),
    "governor": _Rule(
        lambda value: isinstance(value, Governor), "is no governor: pass a hydrart.Governor, or leave it out"
    ),
    "sensors": _Rule(
        lambda value: isinstance(value, Sensors), "is no sensors: pass a hydrart.Sensors, or leave it out"
    ),
    "progress": _FUNCTION,
    "on_event": _FUNCTION,
    "on_wait": _FUNCTION,
    "warn": _FUNCTION,
    "keep_frame": _FLAG,
    "measure": _FLAG,
    "bgr": _FLAG,
}
_OPTIONAL = frozenset(("frames", "wait_s", "governor", "sensors", "progress", "on_event", "on_wait", "warn"))


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check settings by their names. Raises SettingError, which names the first setting of a wrong type or value."""
    for name, value in settings.items():
        rule = _RULES[name]
        if not (value is None and name in _OPTIONAL) and not rule.holds(value):
            raise SettingError(f"{name}={value!r:.80} {rule.otherwise}")
