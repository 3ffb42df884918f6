"""Report the page's faults: at most one line of each kind per minute."""

import logging
import threading
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from hydrart.fork import free_in_children

_EVERY_S = 60.0


class Complaints(logging.Handler):
    """Report sentences from any thread. say: called with each line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._guard = free_in_children(threading.Lock())
        self._told: dict[str, tuple[float, int]] = {}  # kind -> time of its last line, and number of later sentences

    def tell(self, kind: str, sentence: str) -> None:
        """Report the sentence. Only count it within a minute of the last line of its kind."""
        now = time.monotonic()
        with self._guard:
            at, more = self._told.get(kind, (None, 0))
            if at is not None and now - at < _EVERY_S:
                self._told[kind] = at, more + 1
                return
            self._told[kind] = now, 0
        self._say(f"{sentence} ({more} more of this kind since the last line)" if more else sentence)

    def logger(self) -> logging.Logger:
        """A logger with this handler alone."""
        logger = logging.Logger("hydrart.dashboard")
        logger.addHandler(self)
        return logger

    def emit(self, record: logging.LogRecord) -> None:
        """Report aiohttp's log record without the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self.tell(str(record.msg), f"the live page: {' '.join(record.getMessage().split())[:200]}")
        elif isinstance(error, HttpProcessingError | RequestPayloadError):
            self.tell("malformed", f"the live page refused a malformed request: {on_one_line(error)}")
        else:
            self.tell(type(error).__name__, f"the live page could not answer a request: {on_one_line(error)}")


def on_one_line(error: BaseException) -> str:
    """Return the error on one line. A group of errors gives its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
