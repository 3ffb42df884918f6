"""Make text safe for terminals and as wide as they are, and turn the package's warnings into such text."""

import contextlib
import logging
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO


def printable(text: object) -> str:
    """Put the text on one line. Control characters and undecodable bytes of file names become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def columns_of(stream: TextIO) -> int | None:
    """The columns of the terminal that the stream is. None for a file or pipe, whose lines may have any length."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def fitted(text: str, columns: int | None) -> str:
    """Break the lines that are longer than a terminal between words, and indent what follows by two spaces."""
    if columns is None:
        return text
    lines = [
        textwrap.wrap(line, max(columns, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        if len(line) > columns
        else [line]
        for line in text.splitlines()
    ]
    return "\n".join(part for parts in lines for part in parts)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None = None, keys: int = 1
) -> Iterator[str]:
    """The lines of a table, right-aligned. One that is wider than a terminal becomes several below each other.

    columns: of the terminal. keys: how many of the first columns each of them has, to tell the rows apart.
    """
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    first = list(range(keys))
    parts: list[list[int]] = [[]]
    for at in range(keys, len(header)):
        wide = sum(widths[i] + 2 for i in (*first, *parts[-1], at)) - 2
        if parts[-1] and columns is not None and wide > columns:
            parts.append([])
        parts[-1].append(at)
    for number, part in enumerate(parts):
        if number:
            yield ""
        for cells in (header, *rows):
            yield "  ".join(cells[i].rjust(widths[i]) for i in (*first, *part))


@contextlib.contextmanager
def warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Send the package's logged warnings to a function instead of their usual handlers, one sentence per call."""
    logger = logging.getLogger("hydrart")
    before = logger.handlers[:]
    logger.handlers[:] = [_Sayer(say)]
    try:
        yield
    finally:
        logger.handlers[:] = before


class _Sayer(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())
