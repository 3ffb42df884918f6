"""Answers as text and as CSV."""

import csv
import io
from typing import Any

from hydrart.output.answers import CsvRows, answer_text

LINE: dict[str, Any] = {
    "frame": 3, "t_wall": 1.5, "source_name": None, "k": 6, "label": "a, \"b\"", "score": 0.8712, "top": [["a", 1.0]],
    "missed": False, "temp_c": None, "reason": "deadline", "schema": 1,
}  # fmt: skip


def test_a_line_of_text() -> None:
    assert answer_text(LINE | {"label": "dog"}) == "frame 3: dog 87.1%, k=6"
    assert answer_text(LINE | {"label": "dog", "source_name": "a\nb.jpg"}) == "a\\nb.jpg: dog 87.1%, k=6"


def test_rows_of_csv() -> None:
    rows = CsvRows()
    text = rows.rows(LINE) + rows.rows(LINE | {"frame": 4, "label": "\udce9é"})
    names, first, second = list(csv.reader(io.StringIO(text.decode("utf-8"))))
    assert names == ["frame", "t_wall", "source_name", "k", "label", "score", "missed", "temp_c", "reason"]
    assert first == ["3", "1.5", "", "6", 'a, "b"', "0.8712", "False", "", "deadline"], "what is unknown is empty"
    assert second[0] == "4" and second[4] == "\\udce9é"
