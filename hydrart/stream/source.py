"""Where frames come from: pictures, animations, video files, cameras, the demo clip."""

import glob
import os
import stat
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from hydrart.errors import PictureError, SourceError
from hydrart.preprocess import guard, is_picture, picture_files, read_picture, upright_rgb
from hydrart.resources import DEMO
from hydrart.stream.camera import CameraSource, cameras
from hydrart.stream.opencv import VideoFileSource

_DEMO_PLAYS = 14  # the clip lasts 1.4 s, at 30 fps

Rgb = NDArray[np.uint8]


class Source(Protocol):
    """name: for people; live: frames come by themselves and wait for nobody; fps: the source's own rate, None where
    it has none; skipped: pictures that could not be read so far."""

    name: str
    live: bool
    fps: float | None
    skipped: int

    def pictures(self) -> Iterator[Rgb]:
        """uint8 RGB [H, W, 3], until the end. Raises SourceError."""

    def close(self) -> None:
        """Give back the device or file; pictures() ends."""


class PictureSource:
    """Picture files in order; animations give all their frames. Unreadable files are told to `warn` and skipped."""

    live = False

    def __init__(self, name: str, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.name = name
        self.fps: float | None = None
        self.skipped = 0
        self._paths = paths
        self._warn = warn
        self._closed = False

    def pictures(self) -> Iterator[Rgb]:
        read = False
        for path in self._paths:
            try:
                for picture in _frames(path):
                    if self._closed:
                        return
                    read = True
                    yield picture
            except PictureError as error:
                self.skipped += 1
                self._warn(f"skipped: {error}")
        if not read:
            raise SourceError(f"{self.name} holds no readable picture: all {self.skipped} files failed")

    def close(self) -> None:
        self._closed = True


class DemoSource:
    """The clip that ships, played several times over."""

    live = False
    skipped = 0

    def __init__(self) -> None:
        self.name = "demo clip"
        self.fps: float | None = 15.0
        self._closed = False

    def pictures(self) -> Iterator[Rgb]:
        clip = list(_frames(DEMO))[::2]
        for _, picture in zip(range(_DEMO_PLAYS * len(clip)), cycle(clip), strict=False):
            if self._closed:
                return
            yield picture

    def close(self) -> None:
        self._closed = True


class ArraySource:
    """Any iterable of uint8 RGB arrays [H, W, 3]."""

    live = False
    skipped = 0

    def __init__(self, arrays: Any) -> None:
        self.name = "arrays"
        self.fps: float | None = None
        self._arrays = iter(arrays)

    def pictures(self) -> Iterator[Rgb]:
        for picture in self._arrays:
            yield np.array(read_picture(picture))

    def close(self) -> None:
        self._arrays = iter(())


def open_source(
    source: Any,
    *,
    fps: float | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Source:
    """Open a camera (number or /dev/video path), video file, folder, glob or picture, "demo", or an iterable of
    arrays; an open Source is passed through. fps is asked of a camera. Raises SourceError, MissingExtraError.
    """
    if hasattr(source, "pictures"):
        opened: Source = source
        return opened
    if isinstance(source, int):
        return CameraSource(f"/dev/video{source}", fps)
    if not isinstance(source, str | os.PathLike):
        if hasattr(source, "__iter__"):
            return ArraySource(source)
        raise SourceError(f"a {type(source).__name__} is no source: pass a camera number, a path or an iterable")
    name = os.fspath(source)
    if not name:
        raise SourceError("the source is an empty text: name a camera, a file or a folder")
    if name == "demo":
        return DemoSource()
    if name.isdecimal() and len(name) < 10:
        return CameraSource(f"/dev/video{int(name)}", fps)
    if name.startswith(("/dev/video", "/dev/v4l/")) or _is_device(name):
        return CameraSource(name, fps)
    if "://" in name:
        raise SourceError("streams from a URL are not supported yet: pass a camera, a video file or a folder")
    path = Path(name)
    if os.path.isdir(path):
        paths = picture_files(path)
        if not paths:
            raise SourceError(f"{path} holds no pictures: pass a folder with files like .jpg or .png")
        return PictureSource(name, paths, warn)
    if os.path.exists(path):
        return PictureSource(name, [path], warn) if is_picture(path) else VideoFileSource(path)
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    files = [match for match in matches if match.is_file()]
    if not files:
        raise SourceError(f"{name} does not exist and no file matches it: check the path")
    return PictureSource(name, files, warn)


def _is_device(name: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(name).st_mode)
    except (OSError, ValueError):
        return False


def default_source() -> int | str:
    """The first camera there is, else the demo clip."""
    found = cameras()
    return found[0] if found else "demo"


def _frames(path: Path) -> Iterator[Rgb]:
    with guard(path), Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(upright_rgb(frame, str(path)))
