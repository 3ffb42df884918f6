"""A one-slot mailbox: a live source puts, the loop takes the latest; what was not taken in time is gone."""

import threading

from hydrart.stream.frame import Frame


class Mailbox:
    """Thread-safe; one writer, one reader."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, frame: Frame) -> None:
        """Replace what lies in the slot."""
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def close(self, error: Exception | None = None) -> None:
        """Nothing more will come, because of `error` if there is one."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify()

    def take(self, timeout: float) -> Frame | None:
        """The latest frame, waiting for one; None at the end. Raises TimeoutError, and what close() was given."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout):
                raise TimeoutError
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame
