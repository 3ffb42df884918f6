"""A log of bounded size that never stops the run."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydrart.json_lines import json_bytes

_KEEP = 4  # number of files: FILE and FILE.1 to FILE.3
_RETRY_S = 5.0
# A full pipe, or one without a reader, must not block the run. A terminal must not become the controlling one.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class RotatingLog:
    """JSON lines in FILE. A full FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on; the oldest is deleted.

    Only regular files are renamed or deleted. A link, a pipe, a device, and a file that the process has open elsewhere
    are written without a limit.

    - megabytes: largest size of a file.
    - header: the first line of each file.
    - warn: called with a sentence when writing fails, for example on a full disk, and when it works again.

    Lines in between are lost. No line is written in part. Raises OSError if FILE cannot be opened at the start.
    """

    def __init__(self, path: Path, megabytes: float, header: dict[str, Any], warn: Callable[[str], None]) -> None:
        self._path = path
        self._limit = int(megabytes * 1e6)
        self._header = json_bytes(header)
        self._warn = warn
        self._failed_at: float | None = None
        self._lost = 0
        self._handle = -1
        self._size = 0
        self._regular = self._own = False
        self._begun = b""  # unwritten rest of a line after a partial write to a full pipe
        self._unlimited = False
        self._open()

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line."""
        if self._failed_at is not None and time.monotonic() - self._failed_at < _RETRY_S:
            self._lost += 1
            return
        data = json_bytes(entry)
        try:
            if self._handle < 0:
                self._open()
            elif self._size + len(data) > self._limit and self._size > len(self._header) and self._may_rotate():
                self._rotate()
            self._append(data)
        except OSError as error:
            self._lost += 1
            if self._failed_at is None:
                self._warn(f"{self._path} cannot be written ({error.strerror}): the run goes on without its log")
            self._failed_at = time.monotonic()
        else:
            if self._failed_at is not None:
                self._failed_at = None
                self._warn(f"{self._path} is written again, {self._lost} lines are missing")

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _may_rotate(self) -> bool:
        """Whether each name of a rotation is free or belongs to a regular file that only the log uses."""
        if not self._regular or self._unlimited:
            return False
        found = [name for name in log_files(self._path) if os.path.lexists(name)]
        if self._own and all(stat.S_ISREG(os.lstat(name).st_mode) for name in found):
            return True
        self._unlimited = True
        self._warn(f"{self._path} grows without limit, because only regular files are renamed: give another --log")
        return False

    def _rotate(self) -> None:
        self.close()
        names = log_files(self._path)
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if os.path.lexists(newer):
                os.replace(newer, older)
        self._open()

    def _open(self) -> None:
        """Open the file for appending."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISBLK(os.stat(self._path).st_mode):
                raise OSError(errno.EINVAL, "it is a disk, name a file on it", str(self._path))
        try:
            self._handle = os.open(self._path, _FLAGS, 0o644)
        except OSError as error:
            if error.errno == errno.ENXIO and self._path.is_fifo():
                raise OSError(error.errno, "nobody reads this pipe, start its reader first", str(self._path)) from None
            raise
        status = os.fstat(self._handle)
        self._size, self._regular = status.st_size, stat.S_ISREG(status.st_mode)
        self._own = not _open_elsewhere(self._handle)
        try:
            self._append(self._header)
        except OSError as error:
            error.filename = str(self._path)  # os.write() knows only the handle
            raise

    def _append(self, data: bytes) -> None:
        """Write all of the data or nothing."""
        data, written = self._begun + data, 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            if written and self._regular:
                os.ftruncate(self._handle, self._size)
            elif written:
                end = data.index(b"\n", written) + 1
                self._begun = data[written:end]
                if end == len(data):
                    return
            raise
        self._begun = b""
        self._size += len(data)


def log_files(path: Path | None) -> list[Path]:
    """Return a log's files, the newest first: FILE, FILE.1, FILE.2, FILE.3. Without a path, return none."""
    if path is None:
        return []
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, _KEEP))]


def _open_elsewhere(handle: int) -> bool:
    """Whether the process has the file under another descriptor, for example with `--log FILE > FILE`."""
    own = os.fstat(handle)
    with contextlib.suppress(FileNotFoundError):  # /proc may not be mounted
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the descriptor may have been closed meanwhile
                if int(name) != handle and os.path.samestat(own, os.fstat(int(name))):
                    return True
    return False
