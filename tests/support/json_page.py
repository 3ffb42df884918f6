"""Read the tables of docs/json.md as a schema, and compare commands' output with it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
_HEADER = "| field | type | unit | range | null when | meaning |"
_SIMPLE: dict[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}


@dataclass(frozen=True)
class Field:
    """A row of a table."""

    kind: str
    unit: str
    range: str
    null: str
    meaning: str


Table = dict[str, Field]  # path -> row, in the order of the page


def tables() -> dict[str, Table]:
    """Return the table below each heading."""
    found: dict[str, Table] = {}
    heading = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line == _HEADER:
            found[heading] = {}
        elif line.startswith("| `"):
            paths, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for path in re.findall("`(.+?)`", paths):
                assert path not in found[heading], f"{heading}: {path} stands twice"
                found[heading][path] = Field(*cells)
    return found


def check(heading: str, lines: Iterable[dict[str, Any]]) -> None:
    """Check that each line has the table's fields, in its order, with its types, ranges and nulls.

    lines: without their versions. Each object and each list of objects must be filled in at least one line. Otherwise
    the check fails.
    """
    table = tables()[heading]
    seen: set[str] = set()
    for line in lines:
        _check_object(heading, table, line, "", seen)
    assert seen == set(table), f"{heading}: never printed: {set(table) - seen}"


def _check_object(heading: str, table: Table, entry: dict[str, Any], prefix: str, seen: set[str]) -> None:
    names = [path.removeprefix(prefix) for path in table if path.startswith(prefix)]
    names = [name for name in names if not re.search(r"[.\[]", name)]
    assert list(entry) == names, f"{heading}: {prefix or 'the line'} has {list(entry)}, the page {names}"
    for name, value in entry.items():
        path = prefix + name
        seen.add(path)
        _check_value(heading, table, path, value, seen)


def _check_value(heading: str, table: Table, path: str, value: Any, seen: set[str]) -> None:
    field, where = table[path], f"{heading}: {path} is {value!r}"
    if value is None:
        assert field.null, f"{where}, and the page does not say when"
    elif field.kind == "object":
        _check_object(heading, table, value, f"{path}.", seen)
    elif field.kind == "list of object":
        for one in value:
            _check_object(heading, table, one, f"{path}[].", seen)
    else:
        _check_plain(field.kind, field.range, value, where)


def _check_plain(kind: str, limits: str, value: Any, where: str) -> None:
    if kind in _SIMPLE:
        right = isinstance(value, _SIMPLE[kind]) and isinstance(value, bool) == (kind == "boolean")
        assert right, f"{where}, no {kind}"
        assert isinstance(value, bool) or _within(limits, value), f"{where}, the page says {limits}"
    elif kind == "list of record":
        assert isinstance(value, list) and all(isinstance(one, dict) for one in value), where
    elif kind == "list of [text, number]":
        for text, number in value:
            _check_plain("text", "", text, where)
            _check_plain("number", limits, number, where)
    elif kind.startswith("list of "):
        assert isinstance(value, list), where
        for one in value:
            _check_plain(kind.removeprefix("list of "), limits, one, where)
    elif kind.startswith("map of "):
        assert isinstance(value, dict) and all(key.isdecimal() for key in value), where
        for one in value.values():
            _check_plain(kind.removeprefix("map of "), limits, one, where)
    else:
        assert kind.startswith("{"), f"the page has an unknown type {kind}"
        assert isinstance(value, dict) and list(value) == kind.strip("{}").split(", "), where
        for one in value.values():
            _check_plain("number", limits, one, where)


def _within(limits: str, value: Any) -> bool:
    if not limits:
        return True
    if isinstance(value, str):
        return value in re.findall("`(.+?)`", limits)
    number = float(value)
    if limits[0] in "≥>":
        least = float(limits[1:])
        return number >= least if limits[0] == "≥" else number > least
    low, high = map(float, limits.split(" to "))
    return low <= number <= high
