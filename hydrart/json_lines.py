"""Write JSON lines: one object per line, with the version of its fields. docs/json.md describes the fields."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 1  # add 1 when a field is removed, or changes its name, type, unit or place


def versioned(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with `schema` as its last field. Each line has it, because a reader may get a single line."""
    return {**entry, "schema": SCHEMA}


def json_line(entry: Mapping[str, Any]) -> str:
    """Return the versioned object as one line of JSON, without a line end.

    Undecodable bytes of a file's name become JSON's escapes, such as \\udce9.
    """
    text = json.dumps(versioned(entry), ensure_ascii=False)
    with contextlib.suppress(UnicodeEncodeError):  # a locale other than UTF-8 may have left surrogates in names
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode()  # JSON has the same escape for a lone surrogate


def json_bytes(entry: Mapping[str, Any]) -> bytes:
    """Return the line of JSON in UTF-8, in every locale, with its line end."""
    return f"{json_line(entry)}\n".encode()
