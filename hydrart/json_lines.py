"""JSON lines: one object a line, each with the version of its fields. docs/json.md describes the fields."""

import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 1  # grows when a field is removed or changes its name, type, unit or place


def versioned(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The object with `schema` as its last field: a line may reach its reader alone."""
    return {**entry, "schema": SCHEMA}


def json_line(entry: Mapping[str, Any]) -> str:
    """The object with its version as one line, without the line's end."""
    return json.dumps(versioned(entry), ensure_ascii=False)
