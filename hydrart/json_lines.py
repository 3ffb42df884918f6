"""JSON lines: one object a line, each with the version of its fields. docs/json.md describes the fields."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 1  # grows when a field is removed or changes its name, type, unit or place


def versioned(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The object with `schema` as its last field: a line may reach its reader alone."""
    return {**entry, "schema": SCHEMA}


def json_line(entry: Mapping[str, Any]) -> str:
    """The object with its version as one line, without the line's end.

    Bytes of a file's name that are no text stand as JSON's escapes, such as \\udce9.
    """
    text = json.dumps(versioned(entry), ensure_ascii=False)
    with contextlib.suppress(UnicodeEncodeError):  # a locale that is not UTF-8 may have taken names apart
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode()  # Python's escape of a lone surrogate is JSON's, too


def json_bytes(entry: Mapping[str, Any]) -> bytes:
    """The same in UTF-8, whatever the locale, with the line's end."""
    return f"{json_line(entry)}\n".encode()
