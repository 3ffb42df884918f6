"""Sources without a device: picture files, the demo clip, the arrays of a Python program."""

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from hydrart.errors import PictureError, SourceError
from hydrart.picture.colour import Depth
from hydrart.picture.preprocess import decoding, open_picture, read_picture, upright_rgb
from hydrart.resources import DEMO
from hydrart.source.shot import Shot

_SUBFILE_TYPE, _REDUCED = 254, 1  # TIFF 6.0, section 8: marks a reduced copy of another picture in the file
_DEMO_PLAYS = 14  # the clip lasts 1.4 s, at 30 fps


class PictureSource:
    """Picture files in order. An animation gives all its frames. warn: called with a sentence per unreadable file."""

    live = False
    detail = ""

    def __init__(self, name: str, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.name = name
        self.fps: float | None = None
        self.skipped = 0
        self._paths = paths
        self._warn = warn
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        read = False
        for path in self._paths:
            try:
                for picture in _frames(path):
                    if self._closed:
                        return
                    read = True
                    yield Shot(picture, file=str(path))
            except PictureError as error:
                self.skipped += 1
                self._warn(f"skipped: {error}")
        if not read:
            raise SourceError(f"{self.name} holds no readable picture: all {self.skipped} files failed")

    def close(self) -> None:
        self._closed = True


class DemoSource:
    """The clip that ships, played 14 times."""

    live = False
    detail = ""
    skipped = 0

    def __init__(self) -> None:
        self.name = "demo clip"
        self.fps: float | None = 15.0
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        clip = list(_frames(DEMO))[::2]
        for _, picture in zip(range(_DEMO_PLAYS * len(clip)), cycle(clip), strict=False):
            if self._closed:
                return
            yield Shot(picture)

    def close(self) -> None:
        self._closed = True


class ArraySource:
    """An iterable of pictures, or of pairs (picture, stamp), or one picture. read_picture() defines a picture.

    Each array is copied, so a program may reuse one buffer. live: whether frames come at times of their own. bgr: the
    arrays have their colours in the order of OpenCV.
    """

    detail = ""
    skipped = 0

    def __init__(self, arrays: Any, live: bool = False, bgr: bool = False) -> None:
        self.name = "arrays"
        self.live = live
        self._bgr = bgr
        self.fps: float | None = None
        if isinstance(arrays, np.ndarray) and not arrays.ndim:
            raise SourceError("an array without axes is no source: pass one [H, W, 3], or an iterable of them")
        self._arrays = iter([arrays] if _is_picture(arrays) else arrays)
        self._depth = Depth()
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        for item in self._arrays:
            if self._closed:
                return
            picture, stamp = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
            yield Shot(np.array(read_picture(picture, self._bgr, self._depth)), stamp=stamp)

    def close(self) -> None:
        self._closed = True


def _is_picture(arrays: Any) -> bool:
    """Whether the object is one picture: a PIL image, an array [H, W], or [H, W, C] with a picture's channels."""
    return isinstance(arrays, Image.Image) or (
        isinstance(arrays, np.ndarray) and (arrays.ndim == 2 or (arrays.ndim == 3 and arrays.shape[2] in (1, 3, 4)))
    )


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the picture of a file, or all pictures of an animation or of several pages. Raises PictureError."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise PictureError(f"{path} is a folder, a pipe or a device: pass a picture file")
    with decoding(path), open_picture(path) as image:
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if not _is_copy(frame, number):
                yield np.asarray(upright_rgb(frame, str(path)))


def _is_copy(image: Image.Image, number: int) -> bool:
    """Whether a picture in a file repeats another: a preview, a fallback or a reduced copy."""
    if image.format == "MPO":  # a JPEG with previews, or with a stereo pair
        return number > 0
    if image.format == "PNG":
        return number == 0 and bool(image.info.get("default_image")) and getattr(image, "n_frames", 1) > 1
    if image.format == "TIFF":
        return number > 0 and bool(int(getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0)) & _REDUCED)
    return False
