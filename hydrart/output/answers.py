"""Write an answer as text or as a row of CSV, from its JSON line."""

import csv
import io
from typing import Any

from hydrart.output.text import printable

_LISTS = ("top", "schema")  # fields that CSV leaves out: a list, and the version of the JSON line


def answer_text(line: dict[str, Any]) -> str:
    """Return `photo.jpg: dog 87.1%, k=6`, or `frame 12: ...` for a source without files."""
    name = line["source_name"] or f"frame {line['frame']}"
    return printable(f"{name}: {line['label']} {line['score']:.1%}, k={line['k']}")


class CsvRows:
    """Rows of CSV (RFC 4180) in UTF-8, with the fields of the JSON line except `top`. The column names come first."""

    def __init__(self) -> None:
        self._begun = False

    def rows(self, line: dict[str, Any]) -> bytes:
        """Return an answer's row, after the column names at the first call. An unknown value is empty."""
        cells = {name: value for name, value in line.items() if name not in _LISTS}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            self._begun = True
            writer.writerow(cells)
        writer.writerow(" ".join(value) if isinstance(value, list) else value for value in cells.values())
        return text.getvalue().encode("utf-8", "backslashreplace")
