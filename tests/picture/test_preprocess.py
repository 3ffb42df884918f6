"""Preprocessing against timm's evaluation transform, as torchvision runs it on PIL images."""

import io
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image, features

import hydrart
from hydrart.errors import PictureError, SourceError
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture import preprocess as module
from hydrart.picture.folders import PICTURE_FORMATS
from hydrart.picture.preprocess import FITS, normalise, preprocess, read_picture, seen, square
from hydrart.resources import DEMO
from hydrart.source.pictures import PictureSource

IMAGENET = Preprocessing(224)


def timm_transform(
    image: Image.Image, size: int, crop: float, interpolation: Image.Resampling = Image.Resampling.BICUBIC
) -> NDArray[np.uint8]:
    """Resize(floor(size / crop)), CenterCrop(size) of an RGB image: torchvision's rounding, the whole picture."""
    wanted = math.floor(size / crop)
    width, height = image.size
    short = min(width, height)
    new = tuple(wanted if side == short else int(wanted * side / short) for side in (width, height))
    assert len(new) == 2
    image = image.resize(new, interpolation)
    left, top = round((new[0] - size) / 2.0), round((new[1] - size) / 2.0)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours with noise over them: edges, gradients, extremes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None]
    waves = 128 + 100 * np.sin(x / (7 + np.arange(channels)) + y / 11)
    return np.asarray(np.clip(waves + rng.normal(0, 40, (height, width, channels)), 0, 255), np.uint8)


@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
@pytest.mark.parametrize(
    "size",
    [(640, 480), (333, 517), (500, 375), (224, 224), (248, 248), (1, 1), (2, 3), (31, 33), (1280, 719)],
)
def test_equal_to_timm_on_any_size(size: tuple[int, int], crop: float) -> None:
    picture = noise(*size)
    for side in (224, 32):
        expected = timm_transform(Image.fromarray(picture), side, crop)
        np.testing.assert_array_equal(square(picture, Preprocessing(side, crop)), expected)


@pytest.mark.parametrize("size", [(37, 999), (3, 100), (1003, 7), (1, 60), (60, 3011)])
def test_panoramas_stay_on_the_same_grid(size: tuple[int, int]) -> None:
    picture = noise(*size)
    np.testing.assert_array_equal(square(picture, IMAGENET), timm_transform(Image.fromarray(picture), 224, 0.9))


def test_a_very_long_picture_costs_little_memory() -> None:
    long = np.broadcast_to(np.array((10, 200, 30), np.uint8), (60_000, 1, 3))
    square(long[:1], IMAGENET)  # compiles
    tracemalloc.start()
    picture = square(long, IMAGENET)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (picture == (10, 200, 30)).all()
    assert peak < 5e6


def pictures() -> dict[str, tuple[Image.Image, Image.Image]]:
    """By name: a picture as stored, and the RGB image that it shows."""
    rgb = Image.fromarray(noise(301, 203))
    rgba = Image.fromarray(noise(301, 203, 4))
    grey = rgb.convert("L")
    deep = (np.asarray(grey).astype(np.uint16) << 8) | 0x5A
    return {
        "rgb": (rgb, rgb),
        "grey": (grey, grey.convert("RGB")),
        "grey with alpha": (rgba.convert("LA"), rgba.convert("LA").convert("RGB")),
        "rgba": (rgba, rgba.convert("RGB")),
        "palette": (rgb.quantize(64), rgb.quantize(64).convert("RGB")),
        "black and white": (rgb.convert("1"), rgb.convert("1").convert("RGB")),
        "cmyk": (rgb.convert("CMYK"), rgb.convert("CMYK").convert("RGB")),
        "16 bits": (Image.fromarray(deep), grey.convert("RGB")),
    }


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, suffix) for name in pictures() for suffix in ("png", "tiff") if (name, suffix) != ("cmyk", "png")],
)
def test_every_mode(name: str, suffix: str, tmp_path: Path) -> None:
    stored, shown = pictures()[name]
    path = tmp_path / f"x.{suffix}"
    stored.save(path)
    expected = timm_transform(shown, 224, 0.9)
    np.testing.assert_array_equal(square(read_picture(path), IMAGENET), expected)
    np.testing.assert_array_equal(square(read_picture(stored), IMAGENET), expected)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(noise(120, 90)).convert("CMYK").save(path, quality=95)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
        expected = timm_transform(image.convert("RGB"), 224, 0.9)
    np.testing.assert_array_equal(square(read_picture(path), IMAGENET), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    upright = noise(120, 90)
    # what a camera stores for this orientation: the inverse of what a viewer does
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(read_picture(path), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's, already while opening
def test_damaged_exif_data_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(noise(60, 40)).save(path, quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x00damaged")
    assert read_picture(path).shape == (40, 60, 3)


def test_palette_with_transparency(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    image = Image.fromarray(noise(60, 40)).quantize(16)
    image.save(path, transparency=bytes(range(0, 256, 16)))
    np.testing.assert_array_equal(read_picture(path), np.asarray(image.convert("RGB")))


def test_normalisation() -> None:
    spec = Preprocessing(32, 1.0, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    picture = noise(32, 32)
    x = normalise([picture, picture[::-1]], spec)
    assert x.shape == (2, 3, 32, 32) and x.dtype == np.float32 and x.flags.c_contiguous
    expected = (picture[5, 7] / 255 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(x[0, :, 5, 7], expected, atol=1e-6)
    np.testing.assert_array_equal(x[1], x[0, :, ::-1])


def test_path_image_and_array_agree(model: hydrart.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(noise(77, 55)).save(path)
    with Image.open(path) as image:
        from_image = model.preprocess(image)
    np.testing.assert_array_equal(model.preprocess(path), from_image)
    np.testing.assert_array_equal(model.preprocess(str(path)), from_image)
    np.testing.assert_array_equal(model.preprocess(noise(77, 55)), from_image)
    assert from_image.shape == (1, 3, 32, 32)


def test_the_frames_of_the_demo_clip_can_be_prepared(model: hydrart.Model) -> None:
    x = model.preprocess(DEMO)
    assert np.isfinite(x).all() and x.std() > 0.1


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(4, np.uint8), "uint8 [4]"),
        (np.zeros((4, 4, 5), np.uint8), "uint8 [4, 4, 5]"),
        (np.zeros((4, 4), np.int32), "int32 [4, 4]"),
        (np.zeros((4, 4, 3), bool), "bool [4, 4, 3]"),
        (np.zeros((4, 4, 3), np.float32), "float32 [4, 4, 3]"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 [0, 4, 3]"),
    ],
)
def test_arrays_that_are_no_pictures(array: NDArray[np.uint8], words: str) -> None:
    with pytest.raises(PictureError) as error:
        read_picture(array)
    assert words in str(error.value) and "pass uint8 RGB [H, W, 3]" in str(error.value)


def test_a_lazy_image_that_turns_out_broken() -> None:
    data = io.BytesIO()
    Image.fromarray(noise(100, 100)).save(data, "jpeg")
    with Image.open(io.BytesIO(data.getvalue()[: data.tell() // 2])) as image, pytest.raises(PictureError):
        read_picture(image)


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (224, 224), (1080, 1920), (300, 100)])
def test_what_is_seen_is_what_changes_the_input(height: int, width: int, how: str) -> None:
    spec = Preprocessing(224, 0.9)
    box = seen(height, width, spec, how)
    left, right = box.left * width, (box.left + box.width) * width
    top, bottom = box.top * height, (box.top + box.height) * height
    assert (box == (0, 0, 1, 1)) == (how != "crop")
    reach = math.ceil(2 * max(1.0, max(height, width) / 224)) + 1  # of the filter, in source pixels
    black = preprocess(np.zeros((height, width, 3), np.uint8), spec, how)
    outside = np.full((height, width, 3), 255, np.uint8)
    outside[max(0, int(top) - reach) : int(bottom) + reach, max(0, int(left) - reach) : int(right) + reach] = 0
    np.testing.assert_array_equal(preprocess(outside, spec, how), black)
    for y in (slice(math.ceil(top), int(top) + reach), slice(int(bottom) - reach, int(bottom))):
        for x in (slice(math.ceil(left), int(left) + reach), slice(int(right) - reach, int(right))):
            corner = np.zeros((height, width, 3), np.uint8)
            corner[y, x] = 255
            assert (preprocess(corner, spec, how) != black).any()


@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps", "photo.png"])
def test_no_picture_runs_a_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An EPS is a program for Ghostscript, which Pillow calls where it is installed."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = tmp_path / name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image:
        assert image.format == "EPS", "Pillow alone would take it"
    with pytest.raises(PictureError, match="is not a picture in a format that hydrart reads"):
        read_picture(path)
    with pytest.raises(SourceError, match="all 1 files failed"):
        list(PictureSource(str(path), [path], lambda message: None).shots())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", PICTURE_FORMATS)
def test_every_format_is_read_whatever_the_name(form: str, tmp_path: Path) -> None:
    if not features.check({"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}.get(form, "zlib")):
        pytest.skip(f"this Pillow lacks {form}")
    path = tmp_path / "x.png"
    Image.new("RGB", (40, 30), (200, 20, 20)).save(path, form)
    found = read_picture(path)
    assert found.shape == (30, 40, 3) and np.abs(found.astype(int) - (200, 20, 20)).max() < 12


def test_no_other_module_opens_pictures() -> None:
    package = Path(module.__file__).parents[1]
    calling = [path for path in package.rglob("*.py") if "Image.open(" in path.read_text("utf-8")]
    assert [path.relative_to(package).as_posix() for path in calling] == ["picture/preprocess.py"]
