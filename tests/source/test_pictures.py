"""Picture files, the demo clip, arrays of a program."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import PictureError, SourceError
from hydrart.source.pictures import DemoSource
from hydrart.stream.stream import Stream


def test_demo_is_a_real_clip(model: hydrart.Model) -> None:
    pictures = [shot.picture for shot in DemoSource().shots()]
    assert len(pictures) > 100 and pictures[0].shape[2] == 3 and min(pictures[0].shape[:2]) >= 200
    assert not np.array_equal(pictures[0], pictures[10]), "it moves"


def test_broken_pictures_are_named_and_skipped(tmp_path: Path, model: hydrart.Model) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    told: list[str] = []
    with Stream(tmp_path, model, warn=told.append) as stream:
        assert sum(1 for _ in stream) == 1
    assert stream.stats()["skipped"] == 1 and len(told) == 1 and "bad.png" in told[0]
    (tmp_path / "good.png").unlink()
    with Stream(tmp_path, model) as stream, pytest.raises(SourceError, match="all 1 files failed"):
        list(stream)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 2, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_told(array: NDArray[np.uint8], model: hydrart.Model) -> None:
    with pytest.raises(PictureError, match="is no frame"), hydrart.Stream([array], model) as stream:
        list(stream)


def test_stamps_sizes_and_reused_buffers_of_a_program(model: hydrart.Model) -> None:
    buffer = np.zeros((8, 8, 3), np.uint8)

    def frames() -> Iterator[tuple[NDArray[np.uint8], object]]:
        for i in range(6):
            buffer[:] = 40 * i
            yield buffer, {"my": i}
        yield np.full((33, 7), 9, np.uint8), "another size, and grey"

    with hydrart.Stream(frames(), model, keep_frame=True) as stream:
        results = list(stream)
    assert [result.stamp for result in results[:6]] == [{"my": i} for i in range(6)]
    pictures = [result.picture for result in results if result.picture is not None]
    assert [int(picture[0, 0, 0]) for picture in pictures[:6]] == [40 * i for i in range(6)]
    assert results[6].stamp == "another size, and grey" and pictures[6].shape == (33, 7, 3)
