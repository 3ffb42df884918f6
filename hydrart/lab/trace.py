"""Traces say in CSV what happens to a device over time. A value holds until the next row.

The columns are t_s and any of the others:

- t_s: seconds from the start.
- ambient_c: temperature of the air, in degrees Celsius.
- slowdown: factor on every latency.
- slowdown_k3 ... slowdown_k12: the factor by k, instead. A k without a column is interpolated linearly.
- load_w: power of everything else on the device, in watts.
- deadline_ms: time that a frame has, in milliseconds.
- faults: share of the sensor readings that are missing, late or wrong.
"""

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from hydrart.device.profiles import AMBIENT_RANGE_C
from hydrart.errors import ProfileError
from hydrart.governor.points import interpolate
from hydrart.resources import find, suggestion

Floats = NDArray[np.float64]

# column -> range of its values
_RANGES = {
    "t_s": (0.0, 1e9),
    "ambient_c": AMBIENT_RANGE_C,
    "slowdown": (0.01, 1e4),
    "load_w": (0.0, 1e4),
    "deadline_ms": (0.001, 1e9),
    "faults": (0.0, 1.0),
}
_DEFAULTS = {"load_w": 0.0, "faults": 0.0}
_ROWS = 5_000_000
_LINE = 1_000_000  # characters
_PER_K = re.compile(r"slowdown_k([1-9]\d{0,2})")


@dataclass(frozen=True)
class Trace:
    """columns: name -> float64 [rows]. t_s is one of them and ascends."""

    name: str
    columns: dict[str, Floats]

    def at(self, times: Floats, column: str, default: float | None = None) -> Floats:
        """The column's values at these times, float64 [len(times)]. The default replaces a missing column."""
        if column not in self.columns:
            return np.full(len(times), _DEFAULTS.get(column, np.nan) if default is None else default)
        rows = np.searchsorted(self.columns["t_s"], times, "right") - 1
        return self.columns[column][np.maximum(rows, 0)]

    def slowdowns(self, times: Floats, ks: Sequence[int]) -> Floats:
        """The slow-down of every k at these times, float64 [len(times), len(ks)]."""
        own = {int(match[1]): name for name in self.columns if (match := _PER_K.fullmatch(name))}
        if not own:
            return np.repeat(self.at(times, "slowdown", 1.0)[:, None], len(ks), axis=1)
        weights = np.array([[interpolate({j: float(j == i) for j in own}, k) for i in own] for k in ks])
        table = np.stack([self.at(times, name) for name in own.values()], axis=1)
        return np.asarray(table @ weights.T)


def load_trace(name: str | os.PathLike[str]) -> Trace:
    """Read a trace: the name of one that ships, or a path. Raises ProfileError."""
    path = find(name, "devices/traces", ".csv", ProfileError)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            columns = _parse(path, csv.reader(bounded_lines(file)))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, csv.Error):
        raise ProfileError(f"{path} is no CSV: see the traces that ship for an example") from None
    return Trace(path.stem, columns)


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file. Raises ValueError for one of more than a million characters: a device has no line ends."""
    while line := file.readline(_LINE):
        if len(line) == _LINE:
            raise ValueError("a line is too long")
        yield line


def _parse(path: Path, lines: Iterable[list[str]]) -> dict[str, Floats]:
    reader = iter(lines)
    names = [name.strip() for name in next(reader, [])]
    for name in names:
        if name not in _RANGES and not _PER_K.fullmatch(name):
            known = [*_RANGES, "slowdown_k3"]
            raise ProfileError(f"{path} has an unknown column {name[:40]!r}: {suggestion(name, known)}")
    if "t_s" not in names:
        raise ProfileError(f"{path} has no column t_s: put the seconds from the start there")
    if len(set(names)) < len(names):
        raise ProfileError(f"{path} has a column twice: leave one of them out")
    if "slowdown" in names and any(_PER_K.fullmatch(name) for name in names):
        raise ProfileError(f"{path} has a slowdown of every k and of single ones: use one or the other")
    limits = [_RANGES.get(name, _RANGES["slowdown"]) for name in names]
    rows: list[list[float]] = []
    for number, line in enumerate(reader, 2):
        if not line:
            continue
        if len(rows) == _ROWS:
            raise ProfileError(f"{path} has more than {_ROWS:,} rows: leave some out")
        if len(line) != len(names):
            raise ProfileError(f"{path}, line {number}: {len(line)} values for {len(names)} columns: one for each")
        row = []
        for name, cell, (low, high) in zip(names, line, limits, strict=True):
            value = _float(cell)
            if not low <= value <= high:
                shown = repr(cell.strip()[:20]) if cell.strip() else "missing"
                raise ProfileError(f"{path}, line {number}: {name} is {shown}: give a number from {low:g} to {high:g}")
            row.append(value)
        rows.append(row)
    if not rows:
        raise ProfileError(f"{path} has no rows: give one at least, for t_s of 0")
    table = np.array(rows).T
    columns = dict(zip(names, table, strict=True))
    unsorted = np.flatnonzero(np.diff(columns["t_s"]) <= 0)
    if len(unsorted):
        after = columns["t_s"][unsorted[0]]
        raise ProfileError(f"{path}: t_s does not rise after {after:g}: sort the rows by time")
    return columns


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
