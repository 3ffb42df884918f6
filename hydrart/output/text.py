"""Lines that terminals and other programs can read."""

import json
from typing import Any


def json_line(value: Any) -> str:
    """One JSON object on one line, in UTF-8's full range."""
    return json.dumps(value, ensure_ascii=False)


def printable(text: object) -> str:
    """The text on one line. Control characters, and bytes of file names that are no text, become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
