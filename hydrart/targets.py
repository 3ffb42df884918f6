"""Write files: protect the inputs of a command from its outputs, and replace a file in one step."""

import contextlib
import fcntl
import itertools
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from hydrart.errors import HydrartError, SettingError

_PREFIX = ".hydrart-"  # of the names of hidden folders
_YOUNG_S = 10.0  # the process of a younger folder may not have locked it yet


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


@contextlib.contextmanager
def replacing(
    path: Path, error: type[HydrartError] | None = None, *, directory: int | None = None
) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` in one step when the block ends. After an error nothing changes.

    The new file lies in a hidden folder beside the old one until its bytes are on the disk. The block may write to
    the returned file, or to its path `file.name`. A symbolic link stays: the file that it leads to is replaced. The
    new file has the mode of the old one. What killed processes left there is deleted.

    - error: raised with one sentence in place of an OSError, and where `path` is a folder or a device.
    - directory: descriptor of a folder that the caller has checked. `path` is then a name in this folder, a link is
      replaced itself, and only the user may read and write the new file.
    """
    target = path if directory is not None else Path(os.path.realpath(path))
    if directory is None and os.path.exists(target) and not os.path.isfile(target):
        raise (error or SettingError)(f"{path} is a folder or a device: give the name of a file to write")
    try:
        with contextlib.ExitStack() as stack:
            mode = _mode(target) if directory is None else 0o600
            _remove_abandoned(target.parent if directory is None else directory)
            folder = target.with_name(_PREFIX + secrets.token_hex(4))
            os.mkdir(folder, 0o700, dir_fd=directory)
            stack.callback(shutil.rmtree, folder, ignore_errors=True, dir_fd=directory)
            stack.callback(os.close, _lock(folder, directory))
            part = folder / target.name
            with open(part, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666, dir_fd=directory)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(part, mode, dir_fd=directory)
            os.replace(part, target, src_dir_fd=directory, dst_dir_fd=directory)
            _sync(target.parent, directory)
    except OSError as failure:
        named = None if failure.filename is None else Path(os.fsdecode(failure.filename))
        if error is None or not (named in (None, target) or _PREFIX in str(named)):  # the block failed at another file
            raise
        raise error(f"{path} cannot be written: {failure.strerror}") from None


def _mode(target: Path) -> int | None:
    """Return the permissions of a file; None where it does not exist."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def _lock(folder: Path, directory: int | None) -> int:
    """Lock a folder until this process ends. The caller closes the returned descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with contextlib.suppress(OSError):  # some file systems have no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _sync(folder: Path, directory: int | None) -> None:
    """Write the names in a folder to the disk, as far as the file system can."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        if directory is None:
            directory = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, directory)
        os.fsync(directory)


def _remove_abandoned(place: Path | int) -> None:
    """Delete the hidden folders of killed processes in a folder."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        if isinstance(place, Path):
            place = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, place)
        for name in os.listdir(place):
            if re.fullmatch(re.escape(_PREFIX) + "[0-9a-f]{8}", name):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(name, place)


def _remove_if_abandoned(name: str, directory: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and time.time() - status.st_mtime >= _YOUNG_S:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner lives
            shutil.rmtree(name, dir_fd=directory)
    finally:
        os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
