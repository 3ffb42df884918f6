"""What goes wrong with the page, for people: at most one line of a kind a minute, however many strangers ask."""

import logging
import threading
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

_EVERY_S = 60.0


class Complaints(logging.Handler):
    """Hands on sentences, from any thread. say: is called with each line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._guard = threading.Lock()
        self._told: dict[str, tuple[float, int]] = {}  # kind -> when it was said last, and how often it came since

    def tell(self, kind: str, sentence: str) -> None:
        """Say the sentence, unless one of its kind was said within the last minute: then count it."""
        now = time.monotonic()
        with self._guard:
            at, more = self._told.get(kind, (None, 0))
            if at is not None and now - at < _EVERY_S:
                self._told[kind] = at, more + 1
                return
            self._told[kind] = now, 0
        self._say(f"{sentence} ({more} more of this kind since the last line)" if more else sentence)

    def logger(self) -> logging.Logger:
        """A logger that hands on here, and nowhere else."""
        logger = logging.Logger("hydrart.dashboard")
        logger.addHandler(self)
        return logger

    def emit(self, record: logging.LogRecord) -> None:
        """What aiohttp logs, without its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self.tell(str(record.msg), f"the live page: {' '.join(record.getMessage().split())[:200]}")
        elif isinstance(error, HttpProcessingError | RequestPayloadError):
            self.tell("malformed", f"the live page refused a malformed request: {short(error)}")
        else:
            self.tell(type(error).__name__, f"the live page could not answer a request: {short(error)}")


def short(error: BaseException) -> str:
    """An error on one line; of a group the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
