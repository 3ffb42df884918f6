"""Make text safe for terminals, and turn the package's warnings into such text."""

import contextlib
import logging
from collections.abc import Callable, Iterator


def printable(text: object) -> str:
    """Put the text on one line. Control characters and undecodable bytes of file names become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


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
