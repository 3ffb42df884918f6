"""Picture files, the demo clip, arrays of a program."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

import hydrart
from hydrart.errors import PictureError, SourceError
from hydrart.source.opener import Opener
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
    with pytest.raises(PictureError, match="is not a picture"), hydrart.Stream([array], model) as stream:
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


HALVES = np.repeat(np.array([[[250, 0, 0]], [[0, 0, 250]]], np.uint8), 8, axis=0).repeat(24, axis=1)  # red above blue


@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_once(form: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"x.{form.lower()}"
    Image.fromarray(HALVES).save(path, form, exif=exif, **({"quality": 100} if form != "TIFF" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    (shot,) = Opener(path).open().shots()
    assert shot.picture.shape == expected.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
    # Exif 2.32, tag 0x0112: where row 0, the red one, is seen
    where = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}[orientation]
    edges = {"top": (0, 12), "bottom": (-1, 12), "left": (12, 0), "right": (12, -1)}
    reds = {edge: int(shot.picture[place][0]) for edge, place in edges.items() if edge in ("top", "bottom")}
    if orientation >= 5:
        reds = {edge: int(shot.picture[edges[edge]][0]) for edge in ("left", "right")}
    assert max(reds, key=lambda edge: reds[edge]) == where
    np.testing.assert_allclose(shot.picture.astype(int), expected.astype(int), atol=30)


def test_previews_and_second_views_are_no_frames(tmp_path: Path) -> None:
    large, small = Image.fromarray(HALVES), Image.fromarray(HALVES[::4, ::4])
    mpo, tiff, pages, apng = (tmp_path / name for name in ("x.jpg", "x.tif", "pages.tif", "x.png"))
    large.save(mpo, "MPO", save_all=True, append_images=[small])
    with TiffImagePlugin.AppendingTiffWriter(str(tiff)) as file:
        large.save(file, "TIFF")
        file.newFrame()
        small.save(file, "TIFF", tiffinfo={254: 1})  # TIFF 6.0: a version of reduced resolution
    large.save(pages, "TIFF", save_all=True, append_images=[small])
    default = Image.new("RGB", large.size)
    default.save(apng, "PNG", save_all=True, default_image=True, append_images=[large, ImageOps.invert(large)])
    sizes = {path.name: [shot.picture.shape[0] for shot in Opener(path).open().shots()] for path in (mpo, tiff, pages)}
    assert sizes == {"x.jpg": [16], "x.tif": [16], "pages.tif": [16, 4]}
    assert len(list(Opener(apng).open().shots())) == 2


def test_a_single_array_is_one_picture(model: hydrart.Model) -> None:
    for array, count in (
        (np.zeros((20, 30, 3), np.uint8), 1),
        (np.zeros((20, 30, 4), np.uint8), 1),
        (np.zeros((20, 30), np.uint8), 1),
        (np.zeros((5, 20, 30, 3), np.uint8), 5),
        (np.zeros((5, 20, 30), np.uint8), 5),
    ):
        with hydrart.Stream(array, model, keep_frame=True, measure=False) as stream:
            results = list(stream)
        assert len(results) == count
        assert results[0].picture is not None and results[0].picture.shape == (20, 30, 3)


def test_an_array_without_axes_is_no_source() -> None:
    with pytest.raises(SourceError, match="without axes"):
        Opener(np.array(5)).open()


def test_a_pipe_among_pictures_is_skipped(tmp_path: Path) -> None:
    Image.fromarray(HALVES).save(tmp_path / "b.png")
    os.mkfifo(tmp_path / "a.jpg")
    told: list[str] = []
    shots = list(Opener(tmp_path, warn=told.append).open().shots())
    assert [shot.file for shot in shots] == [str(tmp_path / "b.png")] and "a.jpg is a folder, a pipe" in told[0]
    with pytest.raises(SourceError, match="all 1 files failed"):
        list(Opener(tmp_path / "a.jpg").open().shots())
