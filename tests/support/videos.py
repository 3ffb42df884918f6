"""Videos of pictures with known colours."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

RED, GREEN, BLUE = (190, 60, 30), (30, 160, 60), (30, 50, 220)


def stripes(height: int = 576, width: int = 720, colours: Sequence[tuple[int, int, int]] = (RED, GREEN, BLUE)) -> Any:
    """Return stripes of these colours from left to right: uint8 RGB [H, W, 3]."""
    columns = np.repeat(np.arange(len(colours)), -(-width // len(colours)))[:width]
    return np.broadcast_to(np.array(colours, np.uint8)[columns], (height, width, 3)).copy()


def encode(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    codec: str = "mpeg4",
    *,
    fps: float = 25,
    times_ms: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a video.

    times_ms: each picture's time; None: at the rate. container, options: options of the container and the encoder.
    """
    av = pytest.importorskip("av", reason="PyAV is not installed (extra: video)")
    with av.open(str(path), "w", container_options=container or {}) as file:
        stream = None
        for number, picture in enumerate(pictures):
            if stream is None:
                stream = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pixels
                stream.codec_context.bit_rate = 8_000_000
                stream.options = options
                if times_ms is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = 1 / stream.codec_context.framerate if times_ms is None else Fraction(1, 1000)
            file.mux(stream.encode(frame))
        assert stream is not None
        file.mux(stream.encode())
    return path


def colours(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colour of each third of a picture, from left to right, without its edges: [3, 3]."""
    height, width = picture.shape[:2]
    third = width // 3
    parts = [picture[height // 4 : -height // 4, i * third + 16 : (i + 1) * third - 16] for i in range(3)]
    return np.stack([part.reshape(-1, 3).mean(axis=0) for part in parts])
