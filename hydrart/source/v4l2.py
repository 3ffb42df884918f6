"""Query video devices with the ioctls of linux/videodev2.h. A query starts no camera."""

import contextlib
import errno
import fcntl
import os
import re
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_REQBUFS = 0xC0145608
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B
_CAPTURE, _CAPTURE_MPLANE, _DEVICE_CAPS = 0x00000001, 0x00001000, 0x80000000
_BUF_CAPTURE, _BUF_CAPTURE_MPLANE, _MEMORY_MMAP = 1, 9, 1
_DISCRETE = 1
_PATIENCE_S = 2.0  # the longest wait for a driver's answer
_MOST = 256  # limit of one list, because a broken driver's list may be endless

Ioctl = Callable[[int, int, bytearray], object]


@dataclass(frozen=True)
class Format:
    """A pixel format that a camera offers.

    - pixels: the four-character code.
    - sizes: (width, height) -> frames per second, both descending. For a range of sizes, only its two ends.
    """

    pixels: str
    sizes: dict[tuple[int, int], tuple[float, ...]]


@dataclass(frozen=True)
class Camera:
    """A video device. A field is None if this process lacks permission to query it.

    - readable: whether this process may open the device.
    - busy: whether a program captures from it now.
    - holders: (process, name) of the programs that have it open, if this process may see them.
    - answers: False if its driver hangs.
    """

    path: str
    name: str | None
    driver: str | None
    readable: bool
    busy: bool | None
    holders: tuple[tuple[int, str], ...]
    formats: tuple[Format, ...]
    answers: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the camera's JSON line."""
        line = asdict(self)
        line["holders"] = [{"pid": pid, "name": name} for pid, name in self.holders]
        line["formats"] = [
            {
                "pixels": form.pixels,
                "sizes": [{"width": w, "height": h, "fps": list(fps)} for (w, h), fps in form.sizes.items()],
            }
            for form in self.formats
        ]
        return line


def cameras() -> list[Camera]:
    """Return the video devices that give pictures or cannot be queried, sorted by number."""
    matches = (re.fullmatch(r"video(\d+)", path.name) for path in Path("/dev").glob("video*"))
    return query_all(f"/dev/video{number}" for number in sorted(int(match[1]) for match in matches if match))


def query(path: str, ioctl: Ioctl = fcntl.ioctl) -> Camera | None:
    """Query a device. None for a device without pictures, such as a decoder or a metadata node.

    ioctl: in place of fcntl.ioctl, for tests. Raises FileNotFoundError.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FileNotFoundError(path) from None
        if error.errno == errno.ENXIO:  # a terminal that is not there, for example
            return None
        # Some drivers let only one program open them.
        busy = True if error.errno == errno.EBUSY else None
        return Camera(path, _name(path), None, error.errno != errno.EACCES, busy, holders(path), ())
    try:
        return _query(path, lambda request, data: ioctl(handle, request, data))
    except OSError:
        return None
    finally:
        os.close(handle)


def query_all(paths: Iterable[str], ask: Callable[[str], Camera | None] = query) -> list[Camera]:
    """Query each path in a separate thread, so that a driver that hangs delays no other.

    The result has no devices without pictures. ask: in place of query(), for tests.
    """
    found: dict[str, Camera | None] = {}

    def work(path: str) -> None:
        found[path] = None
        with contextlib.suppress(FileNotFoundError):  # the camera may have been unplugged meanwhile
            found[path] = ask(path)

    threads = {path: threading.Thread(target=work, args=(path,), daemon=True) for path in paths}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + _PATIENCE_S
    for path, thread in threads.items():
        thread.join(max(end - time.monotonic(), 0))
        if thread.is_alive():
            found[path] = Camera(path, _name(path), None, True, None, holders(path), (), answers=False)
    return [camera for path in threads if (camera := found[path]) is not None]


def _query(path: str, ask: Callable[[int, bytearray], object]) -> Camera | None:
    answer = bytearray(104)  # struct v4l2_capability
    ask(_QUERYCAP, answer)
    driver, card, _, _, all_nodes, this_node = struct.unpack_from("=16s32s32sIII", answer)
    able = this_node if all_nodes & _DEVICE_CAPS else all_nodes
    if not able & (_CAPTURE | _CAPTURE_MPLANE):
        return None
    kind = _BUF_CAPTURE if able & _CAPTURE else _BUF_CAPTURE_MPLANE
    formats = tuple(Format(code, _sizes(ask, code)) for code in dict.fromkeys(_formats(ask, kind)))
    return Camera(path, _text(card), _text(driver), True, _busy(ask, kind), holders(path), formats)


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="replace")


def _name(path: str) -> str | None:
    try:
        return Path("/sys/class/video4linux", Path(path).name, "name").read_text(errors="replace").strip() or None
    except OSError:
        return None


def _busy(ask: Callable[[int, bytearray], object], kind: int) -> bool | None:
    """Whether another program captures. Then a request for zero buffers fails, which otherwise changes nothing."""
    try:
        ask(_REQBUFS, bytearray(struct.pack("=IIIIB3x", 0, kind, _MEMORY_MMAP, 0, 0)))
    except OSError as error:
        return True if error.errno == errno.EBUSY else None
    return False


def _entries(
    ask: Callable[[int, bytearray], object], request: int, make: Callable[[int], bytes]
) -> Iterator[bytearray]:
    """Yield the entries of a list that Linux gives by index."""
    for index in range(_MOST):
        data = bytearray(make(index))
        try:
            ask(request, data)
        except OSError:
            return
        yield data


def _formats(ask: Callable[[int, bytearray], object], kind: int) -> Iterator[str]:
    for data in _entries(ask, _ENUM_FMT, lambda index: struct.pack("=II56x", index, kind)):
        yield data[44:48].decode("latin-1").strip()


def _sizes(ask: Callable[[int, bytearray], object], code: str) -> dict[tuple[int, int], tuple[float, ...]]:
    pixels = code.ljust(4).encode("latin-1")
    sizes: list[tuple[int, int]] = []
    for data in _entries(ask, _ENUM_FRAMESIZES, lambda index: struct.pack("=I4s36x", index, pixels)):
        (kind,) = struct.unpack_from("=I", data, 8)
        if kind == _DISCRETE:
            sizes.append(struct.unpack_from("=II", data, 12))
        else:
            low_w, high_w, _, low_h, high_h, _ = struct.unpack_from("=6I", data, 12)
            sizes += [(high_w, high_h), (low_w, low_h)]
            break
    unique = sorted(set(sizes), key=lambda size: (-size[0] * size[1], size))
    return {size: _rates(ask, pixels, size) for size in unique}


def _rates(ask: Callable[[int, bytearray], object], pixels: bytes, size: tuple[int, int]) -> tuple[float, ...]:
    seconds: list[tuple[int, int]] = []
    make = lambda index: struct.pack("=I4sII36x", index, pixels, *size)  # noqa: E731
    for data in _entries(ask, _ENUM_FRAMEINTERVALS, make):
        (kind,) = struct.unpack_from("=I", data, 16)
        seconds.append(struct.unpack_from("=II", data, 20))
        if kind != _DISCRETE:
            seconds.append(struct.unpack_from("=II", data, 28))
            break
    return tuple(sorted({round(below / above, 3) for above, below in seconds if above}, reverse=True))


def holders(path: str) -> tuple[tuple[int, str], ...]:
    """Return (process, name) of the programs that have the device open, if this process may see them."""
    device = os.path.realpath(path)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process may have ended, or may belong to another user
            if int(folder.name) != os.getpid() and any(
                os.readlink(link) == device for link in folder.joinpath("fd").iterdir()
            ):
                found.append((int(folder.name), folder.joinpath("comm").read_text(errors="replace").strip()))
    return tuple(found)
