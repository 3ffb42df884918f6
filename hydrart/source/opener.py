"""Open a source of frames: camera, stream, video file, pictures, stdin, arrays or the demo clip."""

import glob
import io
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from PIL import Image

from hydrart.errors import SettingError, SourceError
from hydrart.governor.points import is_number
from hydrart.picture.colour import turned
from hydrart.picture.folders import is_picture, matching, picture_files, why_unmatched
from hydrart.source.address import without_secrets
from hydrart.source.camera import CameraSource, Frozen
from hydrart.source.files import VideoFileSource
from hydrart.source.pictures import ArraySource, DemoSource, PictureSource
from hydrart.source.playlist import Playlist
from hydrart.source.raw import RawSource
from hydrart.source.shot import Shot
from hydrart.source.url import Replay, UrlSource
from hydrart.source.v4l2 import cameras

_INTERFACE = ("name", "detail", "live", "fps", "skipped", "shots", "close")


class Source(Protocol):
    """The interface of a source of frames. A program may define its own class.

    - name: the source's name, for people.
    - detail: the requested and the obtained format, for people; may be empty.
    - live: whether frames come at times of their own, like those of a camera.
    - fps: frames per second that the source states; None if it states no rate.
    - skipped: number of unreadable pictures so far.
    """

    name: str
    live: bool
    fps: float | None

    @property
    def detail(self) -> str: ...

    @property
    def skipped(self) -> int: ...

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures until the end. hydrart calls it once, in a separate thread. Raises SourceError."""

    def close(self) -> None:
        """Release the device or file. Any thread may call it. shots() then ends as soon as it can."""


@dataclass
class Opener:
    """Open a source, and open it again after a loss.

    source: one of
        - a camera: its number, or a path like /dev/video0
        - a URL, a video file, a folder, a glob or a picture
        - "demo": the clip that ships
        - "-:WIDTHxHEIGHT:FORMAT": raw frames on stdin
        - an iterable of pictures, or of pairs (picture, stamp): arrays as hydrart.picture.colour.as_rgb takes them,
          PIL images, or paths
        - a single array or PIL image, which is one picture
        - an open Source, or a function that returns one
    fps, size: requests to a camera, in frames per second and as (width, height) in pixels. None: 15 and 640x480.
    flip: "h" mirrors left to right, "v" upside down, "hv" both. rotate: degrees clockwise, before the flip.
    loop: whether to play a file over and over.
    warn: called with a sentence for each picture that is skipped, in the thread that reads.
    live: whether the frames of an iterable come at times of their own, like those of a robot's topic.
    bgr: the arrays of an iterable have their colours in the order of OpenCV.

    Raises SourceError (what can be no source), SettingError (another setting of a wrong type).
    Example: `hydrart.Stream(hydrart.Opener(0, size=(1280, 720), rotate=180), model)`.
    """

    source: Any
    fps: float | None = None
    size: tuple[int, int] | None = None
    flip: str | None = None
    rotate: int = 0
    loop: bool = False
    warn: Callable[[str], None] | None = None
    live: bool = False
    bgr: bool = False
    _frozen: Frozen = field(default_factory=Frozen, repr=False)
    _replay: Replay = field(default_factory=Replay, repr=False)

    def __post_init__(self) -> None:
        if not _may_be_opened(self.source):
            wanted = "pass a camera number, a path, a URL or an iterable of pictures"
            raise SourceError(f"source={self.source!r:.80} is no source: {wanted}")
        for name, right, otherwise in self._checks():
            if not right:
                raise SettingError(f"{name}={getattr(self, name)!r:.80} {otherwise}")

    def _checks(self) -> Iterator[tuple[str, bool, str]]:
        """Yield each setting's name, whether its type is right, and the rest of the sentence for a wrong one."""
        fps = self.fps
        rate = fps is None or (isinstance(fps, float) and fps == math.inf) or (is_number(fps) and fps > 0)
        yield "fps", rate, "is no rate: pass a positive number of frames per second"
        yield "size", self.size is None or _is_size(self.size), "is no size: pass (width, height) in pixels"
        flip = self.flip is None or (isinstance(self.flip, str) and self.flip in ("h", "v", "hv"))
        yield "flip", flip, "is no direction: pass h, v or hv"
        turn = is_number(self.rotate) and self.rotate in (0, 90, 180, 270)
        yield "rotate", turn, "is no quarter turn: pass 0, 90, 180 or 270"
        yield "warn", self.warn is None or callable(self.warn), "is no function: pass one, or leave it out"
        for name in ("loop", "live", "bgr"):
            yield name, isinstance(getattr(self, name), bool), "is no bool: pass True or False"

    @property
    def repeatable(self) -> bool:
        """Whether open() can be called again."""
        if isinstance(self.source, str | os.PathLike):
            return not os.fspath(self.source).startswith("-:")
        return isinstance(self.source, Integral) or self._function

    @property
    def is_url(self) -> bool:
        """Whether the source comes from the network."""
        return isinstance(self.source, str) and "://" in self.source

    @property
    def name(self) -> str:
        """The source's name for people, before it is open."""
        source = self.source
        if isinstance(source, Integral):
            return f"the camera /dev/video{source}"
        if isinstance(source, str | os.PathLike):
            name = os.fspath(source)
            return without_secrets(name) if self.is_url else name
        return "the source"

    @property
    def _function(self) -> bool:
        """Whether the source is a function or class that returns an open source."""
        return callable(self.source) and (isinstance(self.source, type) or not hasattr(self.source, "shots"))

    def open(self) -> Source:
        """Open the source. Raises SourceError, MissingExtraError."""
        opened = self._open()
        try:
            if self.size and not isinstance(opened, CameraSource):
                raise SourceError(f"{opened.name} has the size that it has: leave --size to cameras")
            if self.loop and (opened.live or not self.repeatable):
                raise SourceError(f"{opened.name} cannot be played again: leave --loop to files")
            if self.live and not isinstance(opened, ArraySource):
                raise SourceError(f"{opened.name} knows whether it is live: leave live= to iterables")
            if self.bgr and not isinstance(opened, ArraySource):
                raise SourceError(f"{opened.name} knows its colours: leave bgr= to arrays")
        except SourceError:
            opened.close()
            raise
        if self.loop:
            opened = _Loop(opened, self._open)
        if self.flip or self.rotate:
            opened = _Turned(opened, self.flip, self.rotate)
        return opened

    def _open(self) -> Source:
        source = self.source
        if self._function or hasattr(source, "shots"):
            opened: Source = source() if self._function else source
            lacking = [name for name in _INTERFACE if not hasattr(opened, name)]
            if lacking:
                raise SourceError(f"a {type(opened).__name__} is no source: it needs {', '.join(lacking)}")
            return opened
        if isinstance(source, Integral):
            return self._camera(f"/dev/video{source}")
        if not isinstance(source, str | os.PathLike):
            return ArraySource(source, self.live, self.bgr)
        return self._named(os.fsdecode(source))

    def _named(self, name: str) -> Source:
        if not name:
            raise SourceError("the source is an empty text: name a camera, a file or a folder")
        if name == "demo":
            return DemoSource()
        if name == "-" or name.startswith("-:"):
            return RawSource(name, self._warn)
        if name.startswith("file://"):
            name = unquote(urlsplit(name).path)
        if "://" in name:
            return UrlSource(name, self._replay)
        if name.isdecimal() and len(name) < 10:
            device = f"/dev/video{int(name)}"
            if os.path.exists(device) or not os.path.exists(name):  # a folder may have the name 2031
                name = device
        if name.startswith(("/dev/video", "/dev/v4l/")) or _is_device(name):
            return self._camera(name)
        return self._files(name)

    def _camera(self, device: str) -> Source:
        return CameraSource(device, None if self.fps == math.inf else self.fps, self.size, self._frozen)

    def _files(self, name: str) -> Source:
        """Open a folder, a file, or the matches of a glob."""
        path = Path(name)
        if os.path.isdir(path):
            paths = picture_files(path)
            if not paths:
                raise SourceError(
                    f"{path} holds no pictures: pass a folder with files like .jpg or .png, or a glob of videos"
                )
            return PictureSource(name, paths, self._warn)
        if os.path.exists(path):
            picture = is_picture(path)
            return PictureSource(name, [path], self._warn) if picture else VideoFileSource(path, self._warn)
        files = matching(name)
        if not files:
            raise SourceError(why_unmatched(name))
        return (PictureSource if all(map(is_picture, files)) else Playlist)(name, files, self._warn)

    def _warn(self, message: str) -> None:
        if self.warn is not None:
            self.warn(message)


class _Wrapped:
    """A source that changes another source's pictures."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.live, self.fps = source.name, source.live, source.fps

    @property
    def detail(self) -> str:
        return self._source.detail

    @property
    def skipped(self) -> int:
        return self._source.skipped

    def close(self) -> None:
        self._source.close()


class _Turned(_Wrapped):
    """Pictures turned and mirrored."""

    def __init__(self, source: Source, flip: str | None, degrees: int) -> None:
        super().__init__(source)
        self._flip, self._degrees = flip, degrees

    def shots(self) -> Iterator[Shot]:
        for shot in self._source.shots():
            yield replace(shot, picture=turned(shot.picture, self._flip, self._degrees))


class _Loop(_Wrapped):
    """A file that starts again at its end. `skipped` adds up all rounds."""

    def __init__(self, source: Source, again: Callable[[], Source]) -> None:
        super().__init__(source)
        self._again = again
        self._skipped = 0
        self._closed = False

    @property
    def skipped(self) -> int:
        return self._skipped + self._source.skipped

    def shots(self) -> Iterator[Shot]:
        while True:
            yield from self._source.shots()
            if self._closed:
                return
            self._source.close()
            before, self._source = self._source, self._again()
            self._skipped += before.skipped

    def close(self) -> None:
        self._closed = True
        self._source.close()


def _may_be_opened(source: Any) -> bool:
    """Whether an object is of a type that can be a source."""
    if isinstance(source, Integral):
        return not isinstance(source, bool) and int(source) >= 0
    if isinstance(source, str | os.PathLike | Image.Image) or callable(source) or hasattr(source, "shots"):
        return True
    # An open file yields lines, a dict its keys, and bytes numbers.
    return hasattr(source, "__iter__") and not isinstance(source, Mapping | bytes | bytearray | memoryview | io.IOBase)


def _is_size(size: Any) -> bool:
    return isinstance(size, tuple) and len(size) == 2 and all(is_number(n) and n > 0 for n in size)


def _is_device(name: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(name).st_mode)
    except (OSError, ValueError):
        return False


def may_be_source(name: str) -> bool:
    """Whether a text has the form of a source, such as a glob, or names an existing file. "" and words do not."""
    if name == "demo" or name.isdecimal() or name.startswith(("-", "@", "/dev/")) or "://" in name:
        return True
    return bool(name) and (os.path.lexists(name) or glob.has_magic(name))


def default_source() -> int | str:
    """Return the number of the first camera whose driver answers, or "demo" without such a camera."""
    return next((int(camera.path.removeprefix("/dev/video")) for camera in cameras() if camera.answers), "demo")
