"""Streams from the network, through OpenCV's FFmpeg: RTSP, HTTP and others."""

import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from hydrart.errors import SourceError
from hydrart.source.opencv import CaptureReader, load_cv2
from hydrart.source.shot import Shot

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_TIMEOUT_MS = 5000


def without_secrets(url: str) -> str:
    """The URL for people and logs: without user, password, query, and segments of the path like password=x."""
    scheme, separator, rest = url.partition("://")
    _, at, rest = rest.rpartition("@")  # a password may hold any other character
    rest = re.sub(r"[?#].*", "?...", rest, count=1, flags=re.DOTALL)
    return f"{scheme}{separator}{'***@' if at else ''}{re.sub(r'/[^/]*=.*', '/...', rest, flags=re.DOTALL)}"


class UrlSource:
    """A stream from a URL. It is live unless the server states its length."""

    detail = ""

    def __init__(self, url: str) -> None:
        self.name = without_secrets(url)
        _check_reachable(url, self.name)
        cv2 = load_cv2(f"the stream {self.name}")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            raise SourceError(f"{self.name} gives no video that OpenCV can read: check path, user and password")
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if 0 < rate <= 1000 else None
        self.live = not (url.lower().startswith("http") and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0)
        self._reader = CaptureReader(cv2, capture)

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    def shots(self) -> Iterator[Shot]:
        yield from self._reader.shots()
        if self.live:
            raise SourceError(f"{self.name} sends no more frames: check the server and the network")

    def close(self) -> None:
        self._reader.close()


def _check_reachable(url: str, name: str) -> None:
    """Raise SourceError, with the reason, where nobody listens: OpenCV gives no reason."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise SourceError(f"{name} is no address: check host and port") from None
    if scheme not in SCHEMES:
        raise SourceError(f"{name} cannot be opened, {scheme}:// is unknown: use one of {', '.join(SCHEMES)}")
    port = port or _PORTS.get(scheme)
    if scheme not in _PORTS or host is None or port is None:
        return
    try:
        socket.create_connection((host, port), _TIMEOUT_MS / 1000).close()
    except (socket.gaierror, UnicodeError):
        raise SourceError(f"the host of {name} is not known: check its name and the network") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceError(f"{name} cannot be reached ({why}): check address, port and network") from None
