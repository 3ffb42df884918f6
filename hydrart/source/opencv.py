"""Read with OpenCV. Every build of cv2 works."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import import_extra
from hydrart.fork import free_in_children
from hydrart.picture.colour import Depth, as_rgb
from hydrart.source.shot import Shot

_BAD_PICTURES_IN_A_ROW = 30  # this many undecodable pictures in a row make the source broken


def load_cv2(what: str) -> Any:
    """Import cv2 and silence it. Raises MissingExtraError; its message says that `what` needs OpenCV."""
    cv2 = import_extra("cv2", what, "OpenCV", "video")
    # OpenCV's warnings would go to stderr, into the live line. Older builds have the setting elsewhere.
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)
    return cv2


def to_rgb(picture: NDArray[Any], depth: Depth) -> NDArray[np.uint8]:
    """Convert OpenCV's picture (BGR, BGRA or grey, 8 or 16 bits) to uint8 RGB [H, W, 3]. 8-bit BGR is not copied."""
    return as_rgb(picture, depth, bgr=True)


class CaptureReader:
    """A cv2.VideoCapture that any thread may close. OpenCV itself crashes if a close and a read overlap."""

    def __init__(self, cv2: Any, capture: Any) -> None:
        self.skipped = 0
        self._cv2 = cv2
        self._capture = capture
        self._depth = Depth()
        self._lock = free_in_children(threading.Lock())
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures until the end. `skipped` counts the undecodable pictures, which are left out."""
        bad = 0
        while bad < _BAD_PICTURES_IN_A_ROW:
            with self._lock:
                if self._closed:
                    self._capture.release()
                    return
                try:
                    if not self._capture.grab():
                        return
                    t_capture = self._stamp()
                    good, picture = self._capture.retrieve()
                except self._cv2.error:
                    good, picture, t_capture = False, None, None
            if good and picture is not None and picture.size:
                bad = 0
                yield Shot(to_rgb(picture, self._depth), t_capture)
            else:
                bad += 1
                self.skipped += 1

    def _stamp(self) -> float:
        """Return time.monotonic() of the capture: V4L2's stamp if that is plausible, else now."""
        now = time.monotonic()
        stamp = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000
        return stamp if now - 1 < stamp <= now else now

    def close(self) -> None:
        self._closed = True
        if self._lock.acquire(blocking=False):  # otherwise the reading thread releases it
            self._capture.release()
            self._lock.release()
