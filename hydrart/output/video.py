"""Write a video of the frames and their answers. OpenCV draws the text, and FFmpeg encodes, through PyAV."""

import contextlib
import queue
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.background import Background
from hydrart.errors import SourceError
from hydrart.picture.preprocess import Box
from hydrart.source.opencv import load_cv2
from hydrart.source.video import load_av, reason
from hydrart.stream.result import Result

_CODECS = {".avi": ("mjpeg", "yuvj420p"), ".mp4": ("mpeg4", "yuv420p"), ".mkv": ("mjpeg", "yuvj420p")}
_QUALITY = 3 * 118  # quality 3 of FFmpeg's scale (2 is best), in units of lambda (FF_QP2LAMBDA)
_TICKS = 65535  # clock limit of MPEG-4 part 2, in ticks per second
_LINE = 224  # grey level of the line around the network's view
# With these options a killed run leaves a file that plays. By default MP4 has its index only at its end, and Matroska
# delays 5 s of video.
_PLAYABLE = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "cluster_time_limit": "1000",
    "flush_packets": "1",
}
_WAITING = 8  # limit of the queue of the encoder, in pictures


class VideoWriter:
    """Write each result's picture, with label, score, k and latency on it, in a separate thread.

    The area outside the network's view is darkened.

    - path: ends with .avi, .mp4 or .mkv.
    - fps: frames per second of the video.
    - whole: whether to wait for the encoder. Otherwise a busy encoder skips pictures, and `warn` gets a sentence at the
      end.
    - seen: Model.seen().

    Pictures of another size are scaled to the size of the first. Raises SourceError (path cannot be written),
    MissingExtraError (no OpenCV or PyAV).
    """

    def __init__(
        self, path: Path, fps: float, whole: bool, warn: Callable[[str], None], seen: Callable[[int, int], Box]
    ) -> None:
        self._cv2, self._av = load_cv2("--save-video"), load_av("--save-video")
        if path.suffix.lower() not in _CODECS:
            raise SourceError(f"{path} is no name of a video: end it with one of {', '.join(_CODECS)}")
        if not path.parent.is_dir():
            raise SourceError(f"{path} cannot be written: {path.parent} is no folder")
        if path.is_dir() or path.is_fifo():
            raise SourceError(f"{path} cannot be written: it is a folder or a pipe")
        self._path, self._fps, self._whole, self._warn, self._seen = path, fps, whole, warn, seen
        self._container: Any = None
        self._stream: Any = None
        self._frames = 0
        self._size = (0, 0)
        self._error: str | None = None
        self._left_out = 0
        self._queue: queue.Queue[tuple[NDArray[np.uint8], str] | None] = queue.Queue(_WAITING)
        self._thread = Background("video", self._run)
        self._thread.start()

    def write(self, result: Result) -> None:
        """Add a frame. Raises SourceError if the video cannot be written."""
        if self._error:
            raise SourceError(self._error)
        if result.picture is None:
            return
        answer = result.prediction
        text = f"{answer.label} {answer.score:.0%}  k={answer.k}  {result.age_ms:.0f} ms"
        try:
            self._queue.put((result.picture, text), block=self._whole)
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Write the waiting pictures and finish the file."""
        self._queue.put(None)
        self._thread.join()
        if self._left_out:
            self._warn(f"{self._path} lacks {self._left_out} frames: encoding was too slow")
        if self._error:
            self._warn(self._error)

    def _run(self) -> None:
        """Encode the queue. After an error it still empties the queue, so that no writer waits, and write() raises."""
        while (item := self._queue.get()) is not None:
            if self._error is None:
                with self._telling():
                    self._encode(*item)
        if self._container is not None:
            with self._telling():
                self._container.mux(self._stream.encode())
            with self._telling():
                self._container.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Keep the first error in the block. write() and close() report it."""
        try:
            yield
        except Exception as error:
            if isinstance(error, self._av.FFmpegError):
                why = reason(error)
            else:
                why = getattr(error, "err", None) or f"{type(error).__name__}: {error}"  # err: OpenCV's
            self._error = self._error or f"{self._path} cannot be written: {why}"

    def _encode(self, picture: NDArray[np.uint8], text: str) -> None:
        cv2 = self._cv2
        bgr = picture[:, :, ::-1].copy()
        show_seen(bgr, self._seen(bgr.shape[0], bgr.shape[1]))
        if self._stream is None:
            self._size = (bgr.shape[1] // 2 * 2 or 2, bgr.shape[0] // 2 * 2 or 2)  # codecs need even sizes
            self._open()
        if (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = cv2.resize(bgr, self._size)
        overlay(cv2, bgr, text)
        frame = self._av.VideoFrame.from_ndarray(bgr, "bgr24")
        frame.pts, self._frames = self._frames, self._frames + 1
        self._container.mux(self._stream.encode(frame))

    def _open(self) -> None:
        codec, pixels = _CODECS[self._path.suffix.lower()]
        # FFmpeg would take a name with a colon for an address without this prefix.
        self._container = self._av.open(f"file:{self._path}", "w", container_options=_PLAYABLE)
        rate = Fraction(self._fps).limit_denominator(int(min(_TICKS / self._fps, 1001)))
        self._stream = self._container.add_stream(codec, rate=rate)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = pixels
        self._stream.codec_context.gop_size = max(1, round(self._fps))  # a fragment of MP4 begins each second
        self._stream.options = {"flags": "+qscale", "global_quality": str(_QUALITY)}


def show_seen(picture: NDArray[np.uint8], box: Box) -> None:
    """Darken the area outside the box, and draw a light line around the box, in place. picture: uint8 [H, W, 3]."""
    height, width, _ = picture.shape
    top, bottom = round(box.top * height), round((box.top + box.height) * height)
    left, right = round(box.left * width), round((box.left + box.width) * width)
    for outside in (picture[:top], picture[bottom:], picture[top:bottom, :left], picture[top:bottom, right:]):
        np.right_shift(outside, 1, out=outside)
    if top:
        picture[[top - 1, bottom % height], left:right] = _LINE
    if left:
        picture[top:bottom, [left - 1, right % width]] = _LINE


def overlay(cv2: Any, picture: NDArray[np.uint8], text: str) -> None:
    """Write a line of white text on black into the lower left corner of a BGR picture, in place."""
    height = picture.shape[0]
    scale = max(height / 600, 0.3)
    (width, tall), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    margin = max(int(8 * scale), 2)
    cv2.rectangle(picture, (0, height - tall - base - 2 * margin), (width + 2 * margin, height), (0, 0, 0), -1)
    place = (margin, height - base - margin)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
