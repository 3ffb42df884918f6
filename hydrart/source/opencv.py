"""Reading with OpenCV. Any build of cv2 that is installed will do."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import MissingExtraError, SourceError
from hydrart.picture.colour import Depth, as_rgb
from hydrart.source.shot import Shot

_BAD_IN_A_ROW = 30  # pictures that cannot be decoded before the source counts as broken


def load_cv2(what: str) -> Any:
    """The module cv2, silenced. `what` needs it: a MissingExtraError says so where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(what, "OpenCV", "video", error) from None
    # OpenCV's warnings would go to stderr, into the live line. Older builds have the setting elsewhere.
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)
    return cv2


def to_rgb(picture: NDArray[Any], depth: Depth) -> NDArray[np.uint8]:
    """A picture from OpenCV (BGR, BGRA or grey, 8 or 16 bits) as uint8 RGB [H, W, 3]. 8-bit BGR is not copied."""
    rgb = as_rgb(picture, depth)
    return rgb[:, :, ::-1] if picture.ndim == 3 and picture.shape[2] >= 3 else rgb


class CaptureReader:
    """A cv2.VideoCapture that may be closed from any thread: OpenCV itself crashes when it is closed during a read."""

    def __init__(self, cv2: Any, capture: Any) -> None:
        self.skipped = 0
        self._cv2 = cv2
        self._capture = capture
        self._depth = Depth()
        self._lock = threading.Lock()
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        """The pictures, until there are no more. Those that cannot be decoded are left out; `skipped` counts them."""
        bad = 0
        while bad < _BAD_IN_A_ROW:
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

    def _stamp(self) -> float | None:
        """time.monotonic() when the device had the picture. None where no device says: only V4L2 does."""
        if self._capture.getBackendName() != "V4L2":
            return None
        now = time.monotonic()
        stamp = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000
        return stamp if now - 1 < stamp <= now else now

    def close(self) -> None:
        self._closed = True
        if self._lock.acquire(blocking=False):  # else the reading thread does it
            self._capture.release()
            self._lock.release()


class VideoFileSource:
    """A video file, every frame in order."""

    live = False
    detail = ""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.name = str(path)
        self._warn = warn
        cv2 = load_cv2(f"the video file {path}")
        capture = cv2.VideoCapture(self.name)
        if not capture.isOpened():
            raise SourceError(f"{path} is neither a picture nor a video that OpenCV can read: check the file")
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if 0 < rate <= 1000 else None
        self._promised = int(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0))
        self._reader = CaptureReader(cv2, capture)

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    def shots(self) -> Iterator[Shot]:
        read = 0
        for shot in self._reader.shots():
            read += 1
            yield shot
        if not read:
            raise SourceError(f"{self.name} holds no readable frame: it may be damaged")
        if read + self.skipped < 0.9 * self._promised:  # containers are often off by a few
            self._warn(f"{self.name} ended after {read} of {self._promised} frames: it may be damaged")

    def close(self) -> None:
        self._reader.close()
