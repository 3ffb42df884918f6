"""Pixels of any layout become RGB; pictures are turned."""

import numpy as np
import pytest
from PIL import Image

from hydrart.errors import PictureError
from hydrart.picture.colour import Depth, as_rgb, turned
from hydrart.picture.preprocess import read_picture
from hydrart.source.opener import Opener


def test_arrays_of_any_layout_become_rgb() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    assert as_rgb(rgb, Depth()) is not None and np.shares_memory(as_rgb(rgb, Depth()), rgb)
    wide = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    np.testing.assert_array_equal(as_rgb(wide[::-2, 1::3], Depth()), wide[::-2, 1::3])
    np.testing.assert_array_equal(as_rgb(np.dstack((rgb, rgb[:, :, 0])), Depth()), rgb)
    grey = np.repeat(rgb[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(as_rgb(rgb[:, :, 0], Depth()), grey)
    np.testing.assert_array_equal(as_rgb(rgb[:, :, :1], Depth()), grey)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_values_of_many_bits_keep_their_brightness(bits: int) -> None:
    bright, dark = np.full((2, 2), (1 << bits) - 1, np.uint16), np.full((2, 2), 1 << (bits - 4), np.uint16)
    guessed, told = Depth(), Depth(bits)
    for depth in (told, guessed):
        assert (as_rgb(bright, depth) == 255).all() and (as_rgb(dark, depth) == 16).all()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [None, "h", "v", "hv"])
def test_turned_as_pillow_turns(flip: str | None, degrees: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image = Image.fromarray(picture).rotate(-degrees, expand=True)
    if "h" in (flip or ""):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if "v" in (flip or ""):
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    np.testing.assert_array_equal(turned(picture, flip, degrees), np.asarray(image))
    (shot,) = Opener([picture], flip=flip, rotate=degrees).open().shots()
    np.testing.assert_array_equal(shot.picture, np.asarray(image))


def test_what_pillow_has_modes_for_is_a_picture() -> None:
    """1, L, LA, RGB and RGBA as arrays of 8 bits, all but 1 as arrays of 16."""
    rng = np.random.default_rng(0)
    for channels in ((), (1,), (2,), (3,), (4,)):
        pixels = rng.integers(0, 256, (4, 5, *channels), np.uint8)
        image = Image.fromarray(pixels.squeeze() if channels == (1,) else pixels)
        expected = np.asarray(image.convert("RGBA").convert("RGB"))
        np.testing.assert_array_equal(as_rgb(pixels, Depth()), expected)
        np.testing.assert_array_equal(as_rgb(pixels.astype(np.uint16) << 8, Depth(16)), expected)
        np.testing.assert_array_equal(read_picture(pixels), expected)
    bilevel = rng.integers(0, 2, (4, 5)).astype(bool)
    np.testing.assert_array_equal(as_rgb(bilevel, Depth()), np.asarray(Image.fromarray(bilevel).convert("RGB")))


def test_the_order_of_opencv() -> None:
    bgra = np.random.default_rng(0).integers(0, 256, (4, 5, 4), np.uint8)
    for picture in (bgra, bgra[:, :, :3], bgra.astype(np.uint16) << 8):
        np.testing.assert_array_equal(as_rgb(picture, Depth(16), bgr=True), bgra[:, :, [2, 1, 0]])
    grey = bgra[:, :, 0]
    np.testing.assert_array_equal(as_rgb(grey, Depth(), bgr=True), as_rgb(grey, Depth()))
    for known in ("x.png", Image.fromarray(grey)):
        with pytest.raises(PictureError, match="bgr=True is for arrays, "):
            read_picture(known, bgr=True)
