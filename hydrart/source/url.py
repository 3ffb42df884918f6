"""Read streams from the network with FFmpeg: RTSP, HTTP and others."""

import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

from hydrart.errors import NotThereError, SourceError
from hydrart.source.address import Address, parse, without_secrets
from hydrart.source.shot import Shot
from hydrart.source.video import VideoReader, load_av, reason

_TIMEOUT_S = 5.0  # time limit of the opening and of each read, in seconds
_SNIFFED = 65536  # bytes of an answer without a video in which to look for a web page
_TAGS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<meta")
_SERVED_PICTURES = ("mpjpeg", "mjpeg")  # no timestamps: two openings of a live stream may begin alike


class Replay:
    """Detect a server that sends one recording to each client from its start. One detector serves all openings."""

    def __init__(self) -> None:
        self._first: int | None = None
        self.played = False
        """Whether the last opening ended without an error."""

    def add(self, data: bytes) -> bool:
        """Note the first packet of an opening. True if the recording that ended before starts again."""
        before, self._first = self._first, zlib.crc32(data)
        return self.played and before == self._first


class UrlSource:
    """A stream from a URL. It is live unless the server states its length.

    replay: the detector that serves all openings of the stream. Raises NotThereError if a later try may help, else
    SourceError.
    """

    detail = ""

    def __init__(self, url: str, replay: Replay) -> None:
        self.name = without_secrets(url)
        address = parse(url)
        if address.scheme not in ("udp", "rtp", "srt", "tcp"):
            _check_host(address.host, self.name)
        av = load_av(f"the stream {self.name}")
        start = time.monotonic()
        try:
            # Without the flag, FFmpeg asks RTSP servers for UDP first, and UDP loses packets.
            container = av.open(
                address.url, options={"rtsp_flags": "prefer_tcp"}, timeout=_TIMEOUT_S, metadata_errors="replace"
            )
        except av.FFmpegError as error:
            late = time.monotonic() - start >= _TIMEOUT_S
            if isinstance(error, av.InvalidDataError) and (other := _other(av, address, self.name)):
                raise other from None
            raise self._failed(av, error, late) from None
        self.live = not (address.scheme in ("http", "https") and _is_file(container))
        try:
            self._reader = VideoReader(container, self.name, self.live)
        except SourceError as error:  # FFmpeg takes some texts for subtitles
            raise _other(av, address, self.name) or error from None
        self.fps = self._reader.fps
        self._replay = replay
        self._over = (
            self.live
            and address.scheme in ("http", "https")
            and container.format.name not in _SERVED_PICTURES
            and replay.add(self._reader.first_bytes())
        )

    def _failed(self, av: Any, error: Exception, late: bool) -> SourceError:
        why = reason(error)
        if isinstance(error, av.ProtocolNotFoundError):
            return SourceError(
                f"{self.name} cannot be opened, PyAV's FFmpeg lacks its protocol: use rtsp:// or http://"
            )
        if late:  # after the time limit, FFmpeg's reason may be wrong
            return NotThereError(f"{self.name} cannot be reached (it did not answer in time): check port and network")
        if isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError | av.InvalidDataError | ValueError):
            return SourceError(f"{self.name} gives no video ({why}): check path, user and password")
        if isinstance(error, av.HTTPError | av.HTTPClientError | EOFError):
            return NotThereError(f"{self.name} gives no video ({why}): check path, user and password")
        return NotThereError(f"{self.name} cannot be reached ({why}): check address, port and network")

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    def shots(self) -> Iterator[Shot]:
        if self._over:
            return
        read = 0
        for shot in self._reader.shots():
            read += 1
            yield shot
        if self._reader.closed:
            return
        why = self._reader.ended_by
        if self.live and (self._reader.length_s is None or self._reader.ended_early):
            self._replay.played = read > 0 and why is None
            because = f" ({why})" if why else ""
            raise SourceError(f"{self.name} sends no more frames{because}: check the server and the network")
        if not read:
            because = why or "it is empty"
            raise SourceError(f"{self.name} gives no frame ({because}): it is damaged, or its server lacks byte ranges")
        if why and self._reader.ended_early:
            raise SourceError(f"{self.name} broke off after {read} frames ({why}): check the server and the network")

    def close(self) -> None:
        self._reader.close()


def _other(av: Any, address: Address, name: str) -> SourceError | None:
    """Return the error that says what a web server sends instead of video; None if that is neither HTML nor text.

    It takes a second connection, so it is for servers that sent no video.
    """
    if address.scheme not in ("http", "https"):
        return None
    start = b""
    try:
        with av.open(address.url, format="data", timeout=_TIMEOUT_S) as container:
            for packet in container.demux():
                start += bytes(packet)
                if len(start) > _SNIFFED:
                    break
    except av.FFmpegError:  # it serves one client at a time, or breaks off
        return None
    text = start.lower()
    if b"\0" in text:
        return None
    if any(tag in text for tag in _TAGS):
        return SourceError(
            f"{name} is a web page: give the address of its stream, rtsp://, or over http:// MJPEG, HLS (.m3u8) or "
            "a video file"
        )
    if not text:
        return SourceError(f"{name} sends nothing: check its path")
    return SourceError(f"{name} sends text, no video: check its path") if text.isascii() else None


def _is_file(container: Any) -> bool:
    """Whether the content has an end: the server states its bytes, or the container its length."""
    if container.format.name in ("hls", "dash"):  # the size counts only the list of parts
        return container.duration is not None
    return container.size > 0 or container.duration is not None


def _check_host(host: str, name: str) -> None:
    """Raise NotThereError if the host's name is unknown. FFmpeg itself gives no reason for that."""
    try:
        socket.getaddrinfo(host, None)
    except (socket.gaierror, UnicodeError):
        raise NotThereError(f"the host of {name} is not known: check its name and the network") from None
