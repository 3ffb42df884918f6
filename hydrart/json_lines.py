"""JSON lines: one object a line, each with the version of its fields. docs/json.md describes the fields."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 1  # add 1 when a field is removed, or changes its name, type, unit or place


def versioned(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The object with `schema` as its last field. Every line has it, because a reader may get a single line."""
    return {**entry, "schema": SCHEMA}


def json_line(entry: Mapping[str, Any]) -> str:
    """The versioned object as one line of JSON, without a line end.

    Bytes of a file's name that are no text become JSON's escapes, such as \\udce9.
    """
    text = json.dumps(versioned(entry), ensure_ascii=False)
    with contextlib.suppress(UnicodeEncodeError):  # a locale that is not UTF-8 may have taken names apart
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode()  # for a lone surrogate, Python's escape is also JSON's


def json_bytes(entry: Mapping[str, Any]) -> bytes:
    """The line of JSON in UTF-8, whatever the locale, with its line end."""
    return f"{json_line(entry)}\n".encode()
