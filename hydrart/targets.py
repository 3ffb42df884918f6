"""Protect a command's inputs from its outputs, and delete abandoned temporary files."""

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from hydrart.errors import HydrartError, SettingError

_YOUNG_S = 1.0  # a younger file's process may not have locked it yet


def refuse_inputs(target: Path | None, inputs: Iterable[Path | None], error: type[HydrartError] = SettingError) -> None:
    """Raise `error` if a write to the target would destroy one of the inputs.

    A symbolic or hard link to an input counts as that input. None: no such file.
    """
    there = None if target is None else _status(target)
    if there is None or not stat.S_ISREG(there.st_mode):
        return
    for path in inputs:
        if path is not None and (read := _status(path)) is not None and os.path.samestat(there, read):
            raise error(f"{target} is the input itself: give another name to write to")


def refuse_twice(*targets: Path | None) -> None:
    """Raise SettingError if two targets are one file, or would become one."""
    given = [target for target in targets if target is not None]
    for one, other in itertools.combinations(given, 2):
        there, too = _status(one), _status(other)
        if there is None or too is None:
            same = os.path.realpath(one) == os.path.realpath(other)
        else:
            same = stat.S_ISREG(there.st_mode) and os.path.samestat(there, too)
        if same:
            raise SettingError(f"{other} would be written twice at a time: give two different names")


def hold(temporary: Path) -> int:
    """Lock a temporary file or folder until this process ends. The caller closes the returned descriptor."""
    descriptor = os.open(temporary, os.O_RDONLY)
    with contextlib.suppress(OSError):  # some file systems have no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Delete the temporary files and folders of killed processes in a folder.

    pattern: a regular expression for their names.
    """
    with contextlib.suppress(OSError):
        for path in [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]:
            with contextlib.suppress(OSError):
                _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG_S:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner lives
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
