"""Open a source for the first time: wait for an absent source, and abandon a driver that hangs."""

import contextlib
import threading
import time
from collections.abc import Callable

from hydrart.background import Background
from hydrart.errors import NotThereError, SourceError
from hydrart.fork import free_in_children
from hydrart.source.opener import Opener, Source
from hydrart.stream.events import Event

_LIMIT_S = 30.0  # opening has several steps, each with its own limit
_TICK_S = 0.5  # interval of the checks during a wait
_PAUSE_S = 1.0  # pause between two tries
_STREAM_S = 10.0  # default wait for a stream from the network


def default_wait_s(opener: Opener, on_loss: str) -> float:
    """Return the default wait for a source at the start, in seconds: 10 for a stream that reconnects, else 0."""
    return _STREAM_S if opener.is_url and on_loss == "reconnect" else 0.0


def open_source(
    opener: Opener, wait_s: float, *, on_event: Callable[[Event], None], on_wait: Callable[[], None]
) -> Source:
    """Open the source. If it is absent, try again every second, for at most `wait_s` seconds.

    on_event: called with an Event for each failed try. on_wait: called at least twice a second. Raises the error of the
    last try, or SourceError if opening hangs.
    """
    end = time.monotonic() + wait_s
    while True:
        try:
            return _within(_LIMIT_S, opener, on_wait)
        except NotThereError as error:
            pause = min(_PAUSE_S, end - time.monotonic())
            if pause <= 0:
                raise
            reason = f"{error}; next try in {_PAUSE_S:g} s"
        on_event(Event("opening", reason, time.monotonic(), time.time()))
        again = time.monotonic() + pause
        while (left := again - time.monotonic()) > 0:
            on_wait()
            time.sleep(min(left, _TICK_S))


def _within(limit_s: float, opener: Opener, on_wait: Callable[[], None]) -> Source:
    """Open the source in a separate thread. Raises SourceError after the time limit."""
    attempt = _Attempt(opener)
    end = time.monotonic() + limit_s
    try:
        while not attempt.done.wait(min(_TICK_S, max(end - time.monotonic(), 0))):
            on_wait()
            if time.monotonic() >= end:
                raise SourceError(f"{opener.name} did not open within {limit_s:g} s: its driver or server hangs")
    except BaseException:  # includes Ctrl-C
        attempt.abandon()
        raise
    return attempt.result()


class _Attempt:
    """Opens a source in a separate thread. After abandon(), the thread closes the source."""

    def __init__(self, opener: Opener) -> None:
        self.done = free_in_children(threading.Event())
        self._opener = opener
        self._lock = free_in_children(threading.Lock())
        self._abandoned = False
        self._source: Source | None = None
        self._error: BaseException | None = None
        Background("open", self._run).start()

    def _run(self) -> None:
        try:
            source = self._opener.open()
        except BaseException as error:
            self._error = error
        else:
            with self._lock:
                self._source = source
                if self._abandoned:
                    self._close()
        self.done.set()

    def abandon(self) -> None:
        """Close the source as soon as it is open."""
        with self._lock:
            self._abandoned = True
            self._close()

    def _close(self) -> None:
        if self._source is not None:
            with contextlib.suppress(Exception):  # the source may be broken
                self._source.close()

    def result(self) -> Source:
        """Return the open source. Raises the error of the opening."""
        if self._error is not None:
            raise self._error
        assert self._source is not None
        return self._source
