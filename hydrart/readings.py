"""The table of all readings: name, unit, bounds, freshness, and where each is shown.

Sensors, Governor.observe, the JSON lines, the terminal, the live page, the metrics and `hydrart devices --here` iterate
over READINGS. A new sensor is one row here and one reader in hydrart/device/readers.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, auto
from numbers import Real
from typing import Any

Readings = dict[str, Any]  # name -> float or bool; an unknown reading is absent


class View(Flag):
    """Where a reading is shown."""

    NOWHERE = 0
    LINE = auto()  # a field of each frame's JSON line
    TERMINAL = auto()  # the panel and the plain line of `hydrart run`
    PAGE = auto()  # the live page: a number and a chart
    HERE = auto()  # `hydrart devices --here`


@dataclass(frozen=True)
class Reading:
    """A row of the table.

    - meaning: what the value means, for the documents.
    - reader: the key of device.readers.READERS that gives it.
    - fresh_s: a value older than so many seconds is unknown.
    - title: its name for people.
    - unit: of the value; "share" is 0 to 1.
    - flag: what a flag means when it is true. A flag has neither unit nor bounds.
    - low, high: a value outside them is unknown.
    - observed: whether the governor uses it.
    - views: where it is shown.
    - decimals, line_decimals: decimal places for people, and in JSON lines.
    - metric: its name for Prometheus without "hydrart_"; None for no metric.
    """

    meaning: str
    reader: str
    fresh_s: float
    title: str
    unit: str = ""
    flag: str = ""
    low: float = 0.0
    high: float = 0.0
    observed: bool = False
    views: View = View.NOWHERE
    decimals: int = 0
    line_decimals: int = 0
    metric: str | None = None

    @property
    def is_flag(self) -> bool:
        """Whether its values are True and False."""
        return bool(self.flag)

    @property
    def people(self) -> tuple[float, str]:
        """The factor and the unit of the value for people, who read a share as a percentage."""
        return (100.0, "%") if self.unit == "share" else (1.0, self.unit)

    @property
    def needed(self) -> bool:
        """Whether anything uses the reading during a run."""
        return self.observed or self.metric is not None or bool(self.views & ~View.HERE)

    def plausible(self, value: Any) -> float | bool | None:
        """The value if it is possible, else None."""
        if self.is_flag or isinstance(value, bool):
            return value if self.is_flag and isinstance(value, bool) else None
        if not isinstance(value, Real):
            return None
        number = float(value)
        return number if self.low <= number <= self.high else None  # NaN compares false with both bounds

    def text(self, value: float | bool | None) -> str:
        """The value with its unit, for people."""
        if value is None:
            return "unknown"
        if self.is_flag:
            return self.flag if value else f"not {self.flag}"
        factor, unit = self.people
        return f"{value * factor:.{self.decimals}f}{unit if unit == '%' else f' {unit}'}"

    def rounded(self, value: float | bool | None) -> float | bool | None:
        """The value as a JSON line has it."""
        return value if value is None or self.is_flag else round(value, self.line_decimals)


# The fields of a JSON line have this order. `devices --here` shows the battery's power, charging and capacity as part
# of `battery`.
READINGS: dict[str, Reading] = {
    "temp_c": Reading(
        "temperature of the CPU, of its hottest sensor",
        "temperature",
        fresh_s=10,
        title="temperature",
        unit="C",
        low=-40,
        high=150,
        observed=True,
        views=View.LINE | View.TERMINAL | View.PAGE | View.HERE,
        decimals=1,
        line_decimals=2,
        metric="temperature_celsius",
    ),
    "battery": Reading(
        "charge of the battery",
        "battery",
        fresh_s=60,
        title="battery",
        unit="share",
        low=0,
        high=1,
        observed=True,
        views=View.LINE | View.TERMINAL | View.PAGE | View.HERE,
        line_decimals=4,
        metric="battery_ratio",
    ),
    "power_w": Reading(
        "power that the whole device draws",
        "battery",
        fresh_s=60,
        title="power",
        unit="W",
        low=0,
        high=1000,
        observed=True,
        views=View.LINE,
        decimals=2,
        line_decimals=3,
        metric="power_watts",
    ),
    "charging": Reading(
        "whether a supply charges the battery or drives the device",
        "battery",
        fresh_s=60,
        title="charging",
        flag="charging",
        observed=True,
    ),
    "capacity_wh": Reading(
        "energy of the full battery",
        "battery",
        fresh_s=60,
        title="capacity",
        unit="Wh",
        decimals=1,
        low=0.001,
        high=1e6,
        observed=True,
    ),
    "throttled": Reading(
        "whether the CPU is slowed down for its heat right now",
        "throttling",
        fresh_s=10,
        title="throttled",
        flag="throttled",
        observed=True,
        views=View.HERE,
    ),
    "undervoltage": Reading(
        "whether the supply is too weak right now",
        "supply",
        fresh_s=10,
        title="supply",
        flag="under-voltage",
        observed=True,
        views=View.HERE,
    ),
    "frequency_mhz": Reading(
        "clock that the kernel asks for, the mean of all cores",
        "clock",
        fresh_s=10,
        title="clock",
        unit="MHz",
        low=1,
        high=1e5,
        views=View.HERE,
    ),
    "others_load": Reading(
        "cores that other programs keep busy",
        "load",
        fresh_s=10,
        title="other programs",
        unit="cores",
        low=0,
        high=1e4,
        observed=True,
        views=View.HERE,
        decimals=2,
    ),
}


def shown(view: View) -> dict[str, Reading]:
    """The readings that this view shows, in the order of the table."""
    return {name: reading for name, reading in READINGS.items() if reading.views & view}


def plausible(values: Mapping[str, Any]) -> Readings:
    """The known and possible values. Raises KeyError for a name that the table lacks."""
    checked = {name: READINGS[name].plausible(value) for name, value in values.items()}
    return {name: value for name, value in checked.items() if value is not None}
