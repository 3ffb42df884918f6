"""OpenCV, where it is installed: any build of cv2 will do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import MissingExtraError, SourceError


def load_cv2(what: str) -> Any:
    """The module, quiet. Raises MissingExtraError naming `what` needs it."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError(what, "OpenCV", "video") from None
    # its warnings go to stderr in the midst of the live line; older builds have the setting elsewhere
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)
    return cv2


def to_rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """What OpenCV reads (BGR, BGRA or grey, 8 or 16 bits) as uint8 RGB [H, W, 3], of BGR a view."""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.shape[2] < 3:
        return np.asarray(np.repeat(picture[:, :, :1], 3, axis=2))
    return np.asarray(picture[:, :, 2::-1])


class VideoFileSource:
    """A video file, every frame in order."""

    live = False
    skipped = 0

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        cv2 = load_cv2(f"the video file {path}")
        self._capture = cv2.VideoCapture(self.name)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is neither a picture nor a video that OpenCV can read: check the file")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if 0 < rate <= 1000 else None

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        number = 0
        while True:
            good, picture = self._capture.read()
            if not good:
                break
            number += 1
            yield to_rgb(picture)
        if not number:
            raise SourceError(f"{self.name} holds no readable frame: it may be damaged")

    def close(self) -> None:
        self._capture.release()
