"""Machine code in files of the user's cache. What is read here is executed, so only the user's own files are read.

A file is read only where nobody but the user (and root) can have written it, and only if its checksum holds. It is
written whole or not at all. What a file holds is the caller's business: jit.py keeps one object file in each.

Source of the rules for owners and modes: StrictModes of OpenSSH (sshd_config(5)).
"""

import contextlib
import grp
import hashlib
import logging
import os
import pwd
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

_MAGIC = b"hydrart machine code\n"
_DIGEST_BYTES = 32
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_PART = ".part"  # the end of a file's name while it is written
_warned = set[str]()  # the folders that a warning was about
_DEAD_S = 3600.0  # seconds after which such a file was left by a process that ended


class _NotOursError(Exception):
    """Somebody else may have written the file, or may replace it. The message is the end of a sentence."""


def folder() -> Path:
    """Where compiled code is kept: $HYDRART_CACHE, else hydrart/ in the user's cache folder (XDG)."""
    if own := os.environ.get("HYDRART_CACHE"):
        return Path(own)
    if of_user := os.environ.get("XDG_CACHE_HOME"):
        return Path(of_user) / "hydrart"
    try:
        return Path.home() / ".cache" / "hydrart"
    except RuntimeError:  # neither HOME nor an entry among the users
        return Path(tempfile.gettempdir()) / f"hydrart-{os.geteuid()}"


def read(key: str, name: str) -> bytes | None:
    """What was written under this key and name; None if that is nothing, is damaged, or may be somebody else's.

    The last costs one warning.
    """
    try:
        with _opened(folder() / key) as directory:
            content = _content(directory, folder() / key / name)
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
    """Keep `content` under this key and name. A folder that cannot be used costs one warning."""
    place = folder() / key
    try:
        _make(place)
        with _opened(place) as directory:
            _remove_dead_parts(directory)
            _replace(directory, name, _MAGIC + _digest(key, name, content) + content)
    except _NotOursError as error:
        _ignored(str(error))
    except OSError as error:
        _unwritable(error.strerror or str(error))


def _digest(key: str, name: str, content: bytes) -> bytes:
    """The checksum, also of what the content is: a file that was moved to another's place is damaged."""
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
    """A descriptor of a folder of ours. Raises OSError, _NotOursError.

    Links are followed first. The place where they end is checked, and only that place is opened.
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
    """Raise _NotOursError where somebody else can put another file or folder in the place of this one."""
    for parent in reversed(real.parents):
        try:
            found = parent.stat()
        except FileNotFoundError:
            return
        if found.st_uid not in (0, os.geteuid()):
            raise _NotOursError(f"{parent} belongs to {_user(found.st_uid)}")
        # in a sticky folder such as /tmp, others cannot rename or remove what is ours
        if not found.st_mode & stat.S_ISVTX:
            _check_mode(parent, found, parent)


def _check_own(path: Path, descriptor: int) -> None:
    """Raise _NotOursError where a folder or file is not the user's, or others may write it."""
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
    """Whether the group is the user's alone: many systems give each user a group of the same name."""
    try:
        user, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    alone = user.pw_gid == group and members.gr_name == user.pw_name
    return alone and set(members.gr_mem) <= {user.pw_name}


def _has_access_list(opened: Path | int) -> bool:
    """Whether an access control list may let further users write (acl(5))."""
    try:
        return "system.posix_acl_access" in os.listxattr(opened)
    except OSError:  # a file system without them
        return False


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _content(directory: int, path: Path) -> bytes:
    """All of a file of ours in that folder. Raises OSError, _NotOursError."""
    if not stat.S_ISREG(os.stat(path.name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise _NotOursError(f"{path} is not a regular file")
    descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        _check_own(path, descriptor)
        return file.read()


def _make(path: Path) -> None:
    """Make a folder, and those above it, for the user alone. Raises OSError, _NotOursError."""
    real = Path(os.path.realpath(path))
    _check_parents(real)
    for each in (*reversed(real.parents), real):
        if not each.is_dir():
            with contextlib.suppress(FileExistsError):  # another process made it
                each.mkdir(0o700)


def _replace(directory: int, name: str, content: bytes) -> None:
    """Write a file whole or not at all: other processes see the old one or the new one. Raises OSError."""
    part = f"{name}.{secrets.token_hex(8)}{_PART}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o600, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=directory)
        raise
    os.fsync(directory)


def _remove_dead_parts(directory: int) -> None:
    """Remove what processes left that were killed while they wrote."""
    for name in os.listdir(directory):
        if name.endswith(_PART):
            with contextlib.suppress(OSError):
                if abs(time.time() - os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime) > _DEAD_S:
                    os.unlink(name, dir_fd=directory)
