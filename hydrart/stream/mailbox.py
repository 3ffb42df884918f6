"""A mailbox with one slot between the capture thread and the loop."""

import threading

from hydrart.fork import free_in_children
from hydrart.stream.frame import Frame


class Mailbox:
    """One slot between one writer thread and one reader thread.

    lossy: whether the next frame replaces an untaken one. Otherwise the writer waits for the reader.
    """

    def __init__(self, lossy: bool = True) -> None:
        self._changed = free_in_children(threading.Condition())
        self._lossy = lossy
        self._frame: Frame | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, frame: Frame) -> bool:
        """Put the frame into the slot. Returns False if the mailbox is closed."""
        with self._changed:
            if not self._lossy:
                self._changed.wait_for(lambda: self._frame is None or self._closed)
            if self._closed:
                return False
            self._frame = frame
            self._changed.notify_all()
            return True

    def close(self, error: Exception | None = None) -> None:
        """Close the mailbox. error: take() raises it after the last frame."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def take(self, timeout: float) -> Frame | None:
        """Wait for a frame, at most `timeout` seconds. Returns None at the end.

        Raises TimeoutError, or the error from close().
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout):
                raise TimeoutError
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return frame
