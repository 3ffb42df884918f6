"""A log of bounded size that never stops the run."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydrart.json_lines import json_line

_KEEP = 4  # files: FILE and FILE.1 to FILE.3
_RETRY_S = 5.0


class RotatingLog:
    """JSON lines in FILE. A full FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on; the oldest is deleted.

    megabytes: of each file; header: the first line of each file; warn: called with one sentence when writing fails,
    as on a full disk, and with another when it works again. Lines in between are lost. No line is half written. Raises
    OSError where FILE cannot be opened at first.
    """

    def __init__(self, path: Path, megabytes: float, header: dict[str, Any], warn: Callable[[str], None]) -> None:
        self._path = path
        self._limit = int(megabytes * 1e6)
        self._header = _line(header)
        self._warn = warn
        self._failed_at: float | None = None
        self._lost = 0
        self._handle = -1
        self._size = 0
        self._open()

    def write(self, entry: dict[str, Any]) -> None:
        """Add a line."""
        if self._failed_at is not None and time.monotonic() - self._failed_at < _RETRY_S:
            self._lost += 1
            return
        data = _line(entry)
        try:
            if self._handle < 0 or (self._size + len(data) > self._limit and self._size > len(self._header)):
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
        """No more lines."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _rotate(self) -> None:
        if self._handle >= 0:
            self.close()
            for number in range(_KEEP - 1, 0, -1):
                older, newer = self._numbered(number), self._numbered(number - 1)
                if os.path.exists(newer):
                    os.replace(newer, older)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open(self) -> None:
        """Open the file, and append to one that exists."""
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._handle).st_size
        self._append(self._header)

    def _append(self, data: bytes) -> None:
        """Write all of it, or nothing."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            if written:
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)


def _line(entry: dict[str, Any]) -> bytes:
    return f"{json_line(entry)}\n".encode()
