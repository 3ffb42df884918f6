"""Play the pictures and videos of a glob one after the other."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hydrart.errors import SourceError
from hydrart.picture.folders import is_picture
from hydrart.source.files import VideoFileSource
from hydrart.source.pictures import PictureSource
from hydrart.source.shot import Shot


class Playlist:
    """Files in order, at least one of them a video. warn: called with a sentence for each unreadable file.

    fps: the rate of the first video that can be opened.
    """

    live = False
    detail = ""

    def __init__(self, name: str, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.name = name
        self._warn = warn
        self._paths = paths
        self._skipped = 0
        self._closed = False
        self._playing: PictureSource | VideoFileSource | None = None
        self._bad: set[Path] = set()
        self._first: VideoFileSource | None = None
        for path in itertools.filterfalse(is_picture, paths):
            self._first = self._video(path)
            if self._first:
                break
        self.fps = self._first.fps if self._first else None

    @property
    def skipped(self) -> int:
        playing = self._playing
        return self._skipped + (playing.skipped if playing else 0)

    def shots(self) -> Iterator[Shot]:
        read = False
        for source in self._sources():
            self._playing = source
            try:
                for shot in source.shots():
                    if self._closed:
                        return
                    read = True
                    yield shot if shot.file else replace(shot, file=source.name)
            except SourceError as error:
                if isinstance(source, VideoFileSource):  # PictureSource has warned already
                    self._warn(f"skipped: {error}")
            finally:
                source.close()
                self._playing = None
                self._skipped += source.skipped
        if not read:
            raise SourceError(f"{self.name} holds no readable picture or video: all {len(self._paths)} files failed")

    def close(self) -> None:
        self._closed = True
        for source in (self._first, self._playing):
            if source:
                source.close()

    def _sources(self) -> Iterator[PictureSource | VideoFileSource]:
        """Yield the sources to play, in order."""
        for pictures, paths in itertools.groupby(self._paths, is_picture):
            if pictures:
                yield PictureSource(self.name, list(paths), self._warn)
                continue
            for path in paths:
                source = self._video(path)
                if source:
                    yield source

    def _video(self, path: Path) -> VideoFileSource | None:
        """Open a video. Returns None, with one warning, if that fails. The first video is opened only once."""
        if self._first is not None and self._first.name == str(path):
            return self._first
        if path in self._bad:
            return None
        try:
            return VideoFileSource(path, self._warn)
        except SourceError as error:
            self._bad.add(path)
            self._skipped += 1
            self._warn(f"skipped: {error}")
            return None
