"""A one-slot mailbox between the thread that captures and the loop that answers."""

import threading

from hydrart.stream.frame import Frame


class Mailbox:
    """Thread-safe; one writer, one reader. lossy: a frame that was not taken in time is replaced by the next;
    otherwise the writer waits until it is taken."""

    def __init__(self, lossy: bool = True) -> None:
        self._changed = threading.Condition()
        self._lossy = lossy
        self._frame: Frame | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, frame: Frame) -> bool:
        """Lay the frame into the slot; False when the mailbox is closed."""
        with self._changed:
            if not self._lossy:
                self._changed.wait_for(lambda: self._frame is None or self._closed)
            if self._closed:
                return False
            self._frame = frame
            self._changed.notify_all()
            return True

    def close(self, error: Exception | None = None) -> None:
        """Nothing more will come, because of `error` if there is one."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def take(self, timeout: float) -> Frame | None:
        """The frame in the slot, waiting for one; None at the end. Raises TimeoutError, and what close() was given."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout):
                raise TimeoutError
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return frame
