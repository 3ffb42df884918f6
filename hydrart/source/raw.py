"""Read raw frames from stdin. ffmpeg, GStreamer and rpicam-vid write them."""

import contextlib
import os
import re
import select
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SourceError
from hydrart.picture.colour import Depth, as_rgb
from hydrart.picture.preprocess import MAX_PIXELS
from hydrart.source.opencv import load_cv2
from hydrart.source.shot import Shot

# ffmpeg's name of a pixel format -> values per pixel, bytes per value, bits per value
FORMATS = {
    "rgb24": (3, 1, 8),
    "bgr24": (3, 1, 8),
    "rgba": (4, 1, 8),
    "bgra": (4, 1, 8),
    "gray": (1, 1, 8),
    "gray10le": (1, 2, 10),
    "gray12le": (1, 2, 12),
    "gray16le": (1, 2, 16),
    "yuv420p": (1.5, 1, 8),
}


class RawSource:
    """Frames of one size and format from stdin.

    text: -:WIDTHxHEIGHT:FORMAT. The source counts as live, because a camera may write the frames.
    """

    live = True
    skipped = 0
    detail = ""
    fps: float | None = None

    def __init__(self, text: str, warn: Callable[[str], None], descriptor: int = 0) -> None:
        match = re.fullmatch(r"-:(\d{1,5})x(\d{1,5}):(\w+)", text)
        if not match or match[3] not in FORMATS:
            raise SourceError(
                f"{text} does not say what comes on stdin: write -:WIDTHxHEIGHT:FORMAT, as in -:640x480:rgb24, "
                f"with one of {', '.join(FORMATS)}, or /dev/stdin for a video"
            )
        self._width, self._height, self._format = int(match[1]), int(match[2]), match[3]
        channels, size, bits = FORMATS[self._format]
        odd = self._format == "yuv420p" and (self._width % 2 or self._height % 2)
        if not 0 < self._width * self._height <= MAX_PIXELS or odd:
            raise SourceError(f"no {self._format} frame is {self._width}x{self._height}: check the size")
        if self._format == "yuv420p":
            self._cv2 = load_cv2("yuv420p on stdin")
        self._bytes = int(self._width * self._height * channels) * size
        self._depth = Depth(bits)
        self._warn = warn
        self.name = f"stdin ({self._width}x{self._height} {self._format})"
        self._input = descriptor
        self._wake, self._waker = os.pipe()  # close() closes one end, which ends select()
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        frames = 0
        while True:
            data = bytearray(self._bytes)
            filled = self._fill(memoryview(data))
            if self._closed or filled < self._bytes:
                break
            frames += 1
            yield Shot(self._rgb(np.frombuffer(data, np.uint8)))
        os.close(self._wake)
        if self._closed:
            return
        if not frames:
            raise SourceError(
                f"stdin ended after {filled} bytes, a frame of {self._width}x{self._height} {self._format} has "
                f"{self._bytes}: check the size, the format and the program before the pipe"
            )
        if filled:
            self._warn(f"the last frame on stdin is incomplete, {filled} of {self._bytes} bytes: it was left out")

    def _fill(self, room: memoryview) -> int:
        """Read until the buffer is full, the input ends, or close() is called. Returns the number of bytes read."""
        filled = 0
        while filled < len(room):
            ready, _, _ = select.select([self._input, self._wake], [], [])
            if self._wake in ready:
                break
            count = os.readv(self._input, [room[filled:]])
            if not count:
                break
            filled += count
        return filled

    def _rgb(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._format == "yuv420p":
            planes = data.reshape(self._height * 3 // 2, self._width)
            return np.asarray(self._cv2.cvtColor(planes, self._cv2.COLOR_YUV2RGB_I420))
        values = data.view("<u2") if self._depth_is_16 else data
        rgb = as_rgb(values.reshape(self._height, self._width, -1), self._depth)
        return rgb[:, :, ::-1] if self._format.startswith("bgr") else rgb

    @property
    def _depth_is_16(self) -> bool:
        return self._format.endswith("le")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                os.close(self._waker)  # the other end becomes readable
