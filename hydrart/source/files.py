"""Video files, and named pipes that carry a video."""

import contextlib
import os
import select
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydrart.errors import SourceError
from hydrart.source.shot import Shot
from hydrart.source.video import VideoReader, load_av, reason

_WRITER_S = 20.0  # the longest wait of a pipe for its first byte


class VideoFileSource:
    """A video file or named pipe, every frame in order.

    warn: called with a sentence for each fault of the video. Raises SourceError if the file is no video.
    """

    live = False
    detail = ""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.name = str(path)
        self._warn = warn
        av = load_av(f"the video file {path}")
        self._pipe = Pipe(path) if is_pipe(path) else None
        # FFmpeg would take a name with a colon for an address without this prefix.
        file: Any = self._pipe or f"file:{path}"
        try:
            container = av.open(file, metadata_errors="replace")
        except av.FFmpegError as error:
            self._close_pipe()
            raise _unreadable(path, error) from None
        except BaseException:
            self._close_pipe()
            raise
        self._reader = VideoReader(container, self.name, live=False)
        self.fps = self._reader.fps
        if self._reader.claimed_fps:
            warn(f"{path} claims {self._reader.claimed_fps:.0f} frames a second: pass --fps to give it a rate")

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    def shots(self) -> Iterator[Shot]:
        read, reader = 0, self._reader
        for shot in reader.shots():
            read += 1
            yield shot
        why = f" ({reader.ended_by})" if reader.ended_by else ""
        if reader.closed:
            return
        if not read:
            raise SourceError(f"{self.name} holds no readable frame{why}: it may be damaged")
        if reader.skipped:
            self._warn(f"{self.name} is damaged: {reader.skipped} pictures could not be decoded and were left out")
        if reader.ended_early or why:
            self._warn(f"{self.name} ended after {read} frames{why}: it may be damaged")

    def close(self) -> None:
        self._close_pipe()
        self._reader.close()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


def is_pipe(path: Path) -> bool:
    """Whether the path is a named pipe. Opening and reading one wait for a writer."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


class Pipe:
    """A named pipe as a file for PyAV. A read waits for a writer, until close(). Any thread may call close()."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake, self._waker = os.pipe()  # close() closes one end, which ends select()
        self._patience_s: float | None = _WRITER_S
        self._closed = False

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end. Raises SourceError if no byte comes in the first 20 s."""
        if self._closed:
            return b""
        ready, _, _ = select.select([self._pipe, self._wake], [], [], self._patience_s)
        if not ready:
            raise SourceError(f"nobody writes into the pipe {self._path}: start the program that does")
        self._patience_s = None
        if self._wake in ready:
            os.close(self._wake)
            os.close(self._pipe)
            return b""
        return os.read(self._pipe, size)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                os.close(self._waker)


def _unreadable(path: Path, error: Exception) -> SourceError:
    if isinstance(error, PermissionError):
        return SourceError(f"{path} may not be read: check its permissions")
    if isinstance(error, OSError) and not isinstance(error, ValueError):
        return SourceError(f"{path} cannot be read ({reason(error)}): check the file and the disk")
    return SourceError(f"{path} is neither a picture nor a video that FFmpeg can read: check the file")
