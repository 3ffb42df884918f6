"""Text that terminals can show."""

import pytest

from hydrart.output.text import printable


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
