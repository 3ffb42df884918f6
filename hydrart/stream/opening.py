"""The first opening of a source: a driver that hangs is left behind, a source that is not there yet is waited for."""

import contextlib
import threading
import time
from collections.abc import Callable

from hydrart.errors import NotThereError, SourceError
from hydrart.fork import free_in_children
from hydrart.source.opener import Opener, Source
from hydrart.stream.events import Event

_LIMIT_S = 30.0  # opening has several steps, each with a limit of its own
_TICK_S = 0.5  # between two looks around during a wait
_PAUSE_S = 1.0  # between two tries
_STREAM_S = 10.0  # that a stream from the network is waited for by default


def default_wait_s(opener: Opener, on_loss: str) -> float:
    """Seconds to wait for the source at the start: 10 for a stream that is opened again when it is lost, else 0."""
    return _STREAM_S if opener.is_url and on_loss == "reconnect" else 0.0


def open_source(
    opener: Opener, wait_s: float, *, on_event: Callable[[Event], None], on_wait: Callable[[], None]
) -> Source:
    """Open the source. While it is not there, try again every second, for at most `wait_s` seconds.

    on_event: is called with an Event for each try that failed. on_wait: is called at least twice a second. Raises
    what the last try raised, and SourceError where opening hangs.
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
    """Open the source in a thread of its own. Raises SourceError after so many seconds."""
    attempt = _Attempt(opener)
    end = time.monotonic() + limit_s
    try:
        while not attempt.done.wait(min(_TICK_S, max(end - time.monotonic(), 0))):
            on_wait()
            if time.monotonic() >= end:
                raise SourceError(f"{opener.name} did not open within {limit_s:g} s: its driver or server hangs")
    except BaseException:  # Ctrl-C, too
        attempt.abandon()
        raise
    return attempt.result()


class _Attempt:
    """Opens a source in a thread of its own. A source that nobody waits for any more is closed."""

    def __init__(self, opener: Opener) -> None:
        self.done = free_in_children(threading.Event())
        self._opener = opener
        self._lock = free_in_children(threading.Lock())
        self._abandoned = False
        self._source: Source | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="hydrart-open", daemon=True).start()

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
        """The open source. Raises what opening it raised."""
        if self._error is not None:
            raise self._error
        assert self._source is not None
        return self._source
