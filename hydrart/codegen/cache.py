"""Keep machine code in files of the user's cache. hydrart executes this code, so it reads only the user's own files.

A file must have a valid checksum, and only the user and root may be able to write it. Each write is atomic. The
caller decides on the content: jit.py keeps one object file in each.

A new version, an upgrade of Numba, or another CPU makes a new key, and nobody asks for the old one again. So the
folder keeps the MOST_KEYS that were used last.

The rules for owners and modes follow StrictModes of OpenSSH (sshd_config(5)).
"""

import contextlib
import grp
import hashlib
import logging
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hydrart.targets import replacing

_log = logging.getLogger(__name__)

_MAGIC = b"hydrart machine code\n"
_DIGEST_BYTES = 32
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_warned = set[str]()  # folders with a logged warning
MOST_KEYS = 24  # a start uses three; each version of hydrart or Numba, and each instruction set, has its own
_KEY = re.compile(r"[0-9a-f]{24}")  # no other folder is removed
_USED_S = 24 * 3600.0  # a key that was used in the last so many seconds stays, and its time is set no more often


class _NotOursError(Exception):
    """Another user may have written the file, or may replace it. The message is a clause of a warning."""


def folder() -> Path:
    """Return the folder of compiled code: $HYDRART_CACHE, else hydrart/ in the user's cache folder (XDG)."""
    if own := os.environ.get("HYDRART_CACHE"):
        return Path(own)
    if of_user := os.environ.get("XDG_CACHE_HOME"):
        return Path(of_user) / "hydrart"
    try:
        return Path.home() / ".cache" / "hydrart"
    except RuntimeError:  # no HOME, and no entry in the user database
        return Path(tempfile.gettempdir()) / f"hydrart-{os.geteuid()}"


def read(key: str, name: str) -> bytes | None:
    """Return the content under this key and name. None if it is absent, damaged, or possibly another user's.

    Possible access of another user logs one warning for each folder.
    """
    try:
        with _opened(folder() / key) as directory:
            content = _content(directory, folder() / key / name)
            _mark_as_used(directory)
    except _NotOursError as error:
        _ignored(str(error))
        return None
    except OSError:
        return None
    begin = len(_MAGIC) + _DIGEST_BYTES
    if content[:begin] != _MAGIC + _digest(key, name, content[begin:]):
        return None
    return content[begin:]


def write(key: str, name: str, content: bytes) -> None:
    """Keep `content` under this key and name. An unusable folder logs one warning."""
    whole = _MAGIC + _digest(key, name, content) + content
    try:
        try:
            _keep(folder() / key, name, whole)
        except FileNotFoundError:  # another process has just removed the key as unused
            _keep(folder() / key, name, whole)
        _remove_unused_keys()
    except _NotOursError as error:
        _ignored(str(error))
    except OSError as error:
        _unwritable(error.strerror or str(error))


def _keep(place: Path, name: str, whole: bytes) -> None:
    _make(place)
    with _opened(place) as directory, replacing(Path(name), directory=directory) as file:
        file.write(whole)


def _digest(key: str, name: str, content: bytes) -> bytes:
    """Return the checksum of content, key and name. So a file in another file's place counts as damaged."""
    return hashlib.sha256(f"{key}\0{name}\0".encode() + content).digest()


def _ignored(reason: str) -> None:
    _warn(
        f"compiled code in {folder()} is not used, because {reason}: "
        "set HYDRART_CACHE to a folder that only you may write"
    )


def _unwritable(reason: str) -> None:
    _warn(
        f"compiled code cannot be kept in {folder()} ({reason}), so that every start compiles again: "
        "set HYDRART_CACHE to a folder that may be written"
    )


def _warn(sentence: str) -> None:
    """Log a warning, once for each folder."""
    place = str(folder())
    if place not in _warned:
        _warned.add(place)
        _log.warning("%s", sentence)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a folder of the user's and return its descriptor. Raises OSError, _NotOursError.

    It follows links first, checks the final path, and opens only that path.
    """
    real = Path(os.path.realpath(path))
    _check_parents(real)
    directory = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_own(real, directory)
        yield directory
    finally:
        os.close(directory)


def _check_parents(real: Path) -> None:
    """Raise _NotOursError if another user can replace this file or folder."""
    for parent in reversed(real.parents):
        try:
            found = parent.stat()
        except FileNotFoundError:
            return
        if found.st_uid not in (0, os.geteuid()):
            raise _NotOursError(f"{parent} belongs to {_user(found.st_uid)}")
        # In a sticky folder such as /tmp, other users cannot rename or remove the user's files.
        if not found.st_mode & stat.S_ISVTX:
            _check_mode(parent, found, parent)


def _check_own(path: Path, descriptor: int) -> None:
    """Raise _NotOursError if a folder or file is not the user's, or if others may write it."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise _NotOursError(f"{path} belongs to {_user(found.st_uid)}")
    _check_mode(path, found, descriptor)


def _check_mode(path: Path, found: os.stat_result, opened: Path | int) -> None:
    others = found.st_mode & _OTHERS
    if others == stat.S_IWGRP and _is_private(found.st_gid) and not _has_access_list(opened):
        return
    if others:
        raise _NotOursError(f"others may write {path} (mode {stat.S_IMODE(found.st_mode):o})")


def _is_private(group: int) -> bool:
    """Whether the group has only this user. Many systems give each user a group of the same name."""
    try:
        user, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    alone = user.pw_gid == group and members.gr_name == user.pw_name
    return alone and set(members.gr_mem) <= {user.pw_name}


def _has_access_list(opened: Path | int) -> bool:
    """Whether an access control list (acl(5)) may let other users write."""
    try:
        return "system.posix_acl_access" in os.listxattr(opened)
    except OSError:  # a file system without access control lists
        return False


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _content(directory: int, path: Path) -> bytes:
    """Read a whole file of the user's in that folder. Raises OSError, _NotOursError."""
    if not stat.S_ISREG(os.stat(path.name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise _NotOursError(f"{path} is not a regular file")
    descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        _check_own(path, descriptor)
        return file.read()


def _make(path: Path) -> None:
    """Make a folder and its parents, for the user alone. Raises OSError, _NotOursError."""
    real = Path(os.path.realpath(path))
    _check_parents(real)
    for each in (*reversed(real.parents), real):
        if not each.is_dir():
            with contextlib.suppress(FileExistsError):  # another process has made it
                each.mkdir(0o700)


def _mark_as_used(directory: int) -> None:
    """Set the time of a key's folder. A folder that may not be changed is never cleaned up either."""
    with contextlib.suppress(OSError):
        if abs(time.time() - os.fstat(directory).st_mtime) > _USED_S:
            os.utime(directory)


def _remove_unused_keys() -> None:
    """Remove the keys that were used longest ago, beyond MOST_KEYS. Several processes may do so at once.

    A process that still wants such a key compiles again.
    """
    used, now = dict[str, float](), time.time()
    with contextlib.suppress(OSError, _NotOursError), _opened(folder()) as home:
        for name in filter(_KEY.fullmatch, os.listdir(home)):
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                used[name] = os.stat(name, dir_fd=home, follow_symlinks=False).st_mtime
        for name in sorted(used, key=lambda each: used[each])[:-MOST_KEYS]:
            if abs(now - used[name]) > _USED_S:
                with contextlib.suppress(OSError, _NotOursError):
                    _remove(home, name)


def _remove(home: int, name: str) -> None:
    """Remove a folder of the user's with the files in it. Raises OSError, _NotOursError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open(name, flags, dir_fd=home)
    try:
        _check_own(folder() / name, directory)
    finally:
        os.close(directory)
    shutil.rmtree(name, dir_fd=home)
