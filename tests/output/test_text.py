"""Text that terminals can show."""

from pathlib import Path

import pytest

from hydrart.output.text import columns_of, fitted, printable, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, grün 雪", "plain, grün 雪"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bytes \udcff", "bytes \\udcff"),
        (3, "3"),
    ],
)
def test_nothing_moves_the_cursor(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_long_lines_are_broken_between_words_on_a_terminal() -> None:
    text = "one two three four five six seven eight nine\n k   params M    GMACs\nshort"
    assert fitted(text, None) == text and fitted(text, 80) == text
    assert fitted(text, 24) == "one two three four five\n  six seven eight nine\n k   params M    GMACs\nshort"
    assert fitted("/a/path/that/is/longer/than/the/terminal", 20) == "/a/path/that/is/longer/than/the/terminal"


def test_a_file_has_no_columns(tmp_path: Path) -> None:
    with open(tmp_path / "x", "w", encoding="utf-8") as file:
        assert columns_of(file) is None


def test_a_wide_table_becomes_several() -> None:
    header, rows = ("k", "p50 ms", "top-1"), [("3", "1.00", "78%"), ("12", "12.00", "85%")]
    assert list(table(header, rows)) == [" k  p50 ms  top-1", " 3    1.00    78%", "12   12.00    85%"]
    assert list(table(header, rows, 17)) == list(table(header, rows))
    narrow = [" k  p50 ms", " 3    1.00", "12   12.00", "", " k  top-1", " 3    78%", "12    85%"]
    assert list(table(header, rows, 16)) == narrow
    assert list(table(header, rows, 1, keys=2)) == list(table(header, rows)), "the keys stay together"
