"""Decode video with FFmpeg, through PyAV. The reader gives no invented picture, and reports faults."""

import contextlib
import ctypes
import functools
import re
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SourceError, import_extra
from hydrart.fork import free_in_children
from hydrart.picture.preprocess import MAX_PIXELS
from hydrart.source.rate import is_sane, rate
from hydrart.source.shot import Shot

_BAD_PACKETS_IN_A_ROW = 30  # this many undecodable packets in a row make the source broken
_AHEAD, _AHEAD_BYTES = 40, 32 << 20  # limits of reading ahead for the rate, in packets and bytes
_MOST_BYTES = 288 << 20  # limit of one block of memory; an RGB picture of MAX_PIXELS fits
_WHOLE = 0.9  # share of the stated length; containers often err a little
_TEXT = frozenset(("ansi", "bintext", "idf", "xbin"))  # FFmpeg renders text files as video


def load_av(what: str) -> Any:
    """Import av. Raises MissingExtraError; its message says that `what` needs PyAV."""
    av = import_extra("av", what, "PyAV", "video")
    _bound_memory()
    return av


@functools.cache
def _bound_memory() -> None:
    """Bound each of FFmpeg's allocations. A container may state a packet of gigabytes, and a codec a huge picture.

    PyAV does not offer av_max_alloc() of libavutil/mem.h. The bound holds for the whole process.
    """
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if "/libavutil" in line}
    for path in paths:
        with contextlib.suppress(OSError):  # an upgrade may have replaced the file meanwhile
            ctypes.CDLL(path).av_max_alloc(ctypes.c_size_t(_MOST_BYTES))


class VideoReader:
    """The best video stream of an open av container. Any thread may close it.

    container: the reader owns and closes it. name: for messages. live: whether the video comes in real time. Then
    nothing is read ahead, and no picture waits for the next. Raises SourceError without a decodable video.
    """

    def __init__(self, container: Any, name: str, live: bool) -> None:
        self.skipped = 0
        self.ended_by: str | None = None
        """Why the container broke off; None after a regular end."""
        self._name = name
        self._container = container
        self._lock = free_in_children(threading.Lock())
        self.closed = False
        self._flushed = False
        self._av = load_av(name)
        self._convert = self._av.video.reformatter.VideoReformatter().reformat
        try:
            self._stream = self._best()
            self._stream.thread_type = "SLICE" if live else "AUTO"  # parallel frames would add a delay of some frames
            self._packets = container.demux(self._stream)
            self._first = deque([] if live else self._read_ahead())
        except BaseException:
            container.close()
            raise
        self.length_s = self._length_s()
        """Seconds of video that the container states; None without a statement."""
        self.end_s = 0.0
        """Seconds from the start to the last picture so far."""
        self._start_s = float((self._stream.start_time or 0) * self._stream.time_base)
        stated = [float(fps) for fps in (self._stream.guessed_rate, self._stream.average_rate) if fps]
        found = rate(stated, self._times())
        self.claimed_fps = found if found is not None and not is_sane(found) else None
        """The measured rate if no camera has such a rate; else None."""
        self.fps = None if self.claimed_fps else found

    def _best(self) -> Any:
        """Return the video stream to decode. The cover picture of a piece of music does not count."""
        stream = self._container.streams.best("video")
        if stream is None or stream.disposition & self._av.stream.Disposition.attached_pic:
            raise SourceError(f"{self._name} holds no video: check the file")
        context = stream.codec_context
        if context is None:
            raise SourceError(f"{self._name} holds video in a codec that PyAV does not decode: convert it to H.264")
        if context.name in _TEXT:
            raise SourceError(f"{self._name} is text, no video: check the file")
        self._check_size(context.width, context.height)
        return stream

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise SourceError(
                f"{self._name} has frames of {width}x{height}, more than {MAX_PIXELS:,} pixels: scale the video down"
            )

    def _read_ahead(self) -> Iterator[Any]:
        """Yield the first packets. Their timestamps give the rate."""
        size = 0
        for _ in range(_AHEAD):
            packet = self._next_packet()
            if packet is None:
                return
            yield packet
            size += packet.size
            if size > _AHEAD_BYTES:
                return

    def _times(self) -> list[float]:
        """Return the timestamps of the packets read ahead, in seconds."""
        return [float(packet.pts * packet.time_base) for packet in self._first if packet.pts is not None]

    def first_bytes(self) -> bytes:
        """Return the data of the first packet, without decoding it. Empty without a packet."""
        if not self._first:
            packet = self._next_packet()
            self._first.extend([packet] * (packet is not None))
        return bytes(self._first[0]) if self._first else b""

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures until the end. `skipped` counts the undecodable pictures, which are left out."""
        bad, damage = 0, ""
        while bad < _BAD_PACKETS_IN_A_ROW:
            with self._lock:
                if self.closed:
                    self._container.close()
                    return
                try:
                    frames = self._decode()
                except self._av.FFmpegError as error:
                    self.skipped += 1
                    bad += 1
                    damage = f"{self._stream.codec_context.name}: {reason(error)}"
                    continue
            if frames is None:
                return
            for frame in frames:
                picture = self._rgb(frame)
                if picture is None:
                    self.skipped += 1
                    continue
                bad = 0
                if frame.time is not None:
                    self.end_s = max(self.end_s, frame.time - self._start_s)
                yield Shot(picture)
        self.ended_by = damage

    def _next_packet(self) -> Any:
        """Return the next packet, or None at the end. If the container broke off, `ended_by` has the reason."""
        try:
            return next(self._packets, None)
        except self._av.FFmpegError as error:
            self.ended_by = reason(error)
            return None

    def _decode(self) -> list[Any] | None:
        """Return the pictures of the next packet; None at the end. Raises FFmpegError if decoding fails."""
        packet = self._first.popleft() if self._first else self._next_packet()
        if packet is not None:
            return list(packet.decode())
        if self._flushed:
            return None
        self._flushed = True
        try:
            return list(self._stream.codec_context.decode(None))  # the pictures still in the decoder
        except self._av.EOFError:
            return None  # the empty last packet of a regular end has already flushed the decoder

    def _rgb(self, frame: Any) -> NDArray[np.uint8] | None:
        """Convert a decoded frame to uint8 RGB [H, W, 3], upright. None if parts of it are missing."""
        self._check_size(frame.width, frame.height)
        if frame.is_corrupt:  # the decoder invented parts of it
            return None
        try:
            rgb = self._convert(frame, format="rgb24").to_ndarray()
        except self._av.FFmpegError:
            return None
        matrix = self._side_data(frame).get("DISPLAYMATRIX")
        return rgb if matrix is None else upright(rgb, np.frombuffer(matrix, np.int32))

    def _side_data(self, frame: Any) -> Any:
        """Return a frame's side data, without the kinds that PyAV does not know.

        PyAV raises a ValueError at a kind that it does not know, such as EXIF. FFmpeg's filter "sidedata" deletes it.
        """
        while True:
            try:
                return frame.side_data
            except ValueError as error:
                kind = re.match(r"\d+", str(error))
                if kind is None:
                    raise
            graph = self._av.filter.Graph()
            size = {"width": frame.width, "height": frame.height}
            source = graph.add_buffer(**size, format=frame.format, time_base=frame.time_base)
            graph.link_nodes(source, graph.add("sidedata", f"mode=delete:type={kind[0]}"), graph.add("buffersink"))
            graph.configure()
            graph.vpush(frame)
            frame = graph.vpull()

    def _length_s(self) -> float | None:
        """Seconds of video that the container states; None without a statement."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        container = self._container
        # The container's length covers all its streams. One stream may be shorter.
        return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None

    @property
    def ended_early(self) -> bool:
        """Whether the last picture so far lies well before the stated end."""
        return self.length_s is not None and self.end_s + 1 / (self.fps or 1) < _WHOLE * self.length_s

    def close(self) -> None:
        """End shots() as soon as possible. Any thread may call it."""
        self.closed = True
        if self._lock.acquire(blocking=False):  # otherwise the reading thread closes it
            self._container.close()
            self._lock.release()


def upright(picture: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Turn and mirror a picture as a player shows it. Returns a view.

    picture: uint8 [H, W, 3]. matrix: int32 [9], the display matrix of libavutil/display.h. It maps a pixel at (x, y) to
    (m0 x + m3 y, m1 x + m4 y). The function applies the nearest combination of quarter turn and mirrors.
    """
    across, down = int(matrix[0]), int(matrix[4])
    if abs(int(matrix[1])) > abs(across):
        picture = picture.transpose(1, 0, 2)
        across, down = int(matrix[3]), int(matrix[1])
    return picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def reason(error: Exception) -> str:
    """Return FFmpeg's reason for an error, without the address, because that may hold a password."""
    if type(error).__name__ == "ExitError":  # FFmpeg's name for the end by PyAV's time limit
        return "nothing came in time"
    return getattr(error, "strerror", None) or type(error).__name__
