"""From a picture to the network's input, as timm evaluates: resize the short side, crop the centre, normalise.

Pillow does the reading; the resizing (bicubic with antialias) equals Pillow's, so results are those of the training
tools. Pictures are taken as a viewer shows them: the EXIF orientation is applied.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from hydrart.errors import PictureError
from hydrart.format.preprocessing import Preprocessing

Picture = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs: 1 GiB / 4 / 3 pixels

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> what makes the picture upright


def read_picture(picture: Picture) -> NDArray[np.uint8]:
    """A path, PIL image or uint8 RGB array as uint8 RGB [H, W, 3], upright; an array of any strides is not copied.

    Alpha is dropped, 16-bit pictures keep their high byte. Raises PictureError.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise PictureError(
                f"an array of {picture.dtype} {list(picture.shape)} is not a picture: pass uint8 RGB [H, W, 3]"
            )
        return np.asarray(picture)
    if isinstance(picture, Image.Image):
        name = str(getattr(picture, "filename", "") or "the picture")
        with decoding(name):
            return np.asarray(upright_rgb(picture, name))
    if not isinstance(picture, str | os.PathLike):
        raise PictureError(
            f"a {type(picture).__name__} is not a picture: pass a path, a PIL image or a uint8 RGB array"
        )
    path = Path(picture)
    if os.path.exists(path) and not os.path.isfile(path):
        raise PictureError(f"{path} is a folder or a device: pass a picture file")
    with decoding(path), Image.open(path) as image:
        return np.asarray(upright_rgb(image, str(path)))


@contextlib.contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Turn whatever goes wrong while the picture `path` is decoded into a PictureError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist: check the path") from None
    except PermissionError:
        raise PictureError(f"{path} may not be read: check its permissions") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that Pillow can read: convert it to JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise _too_large(str(path)) from None
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise PictureError(f"{path} cannot be decoded ({_one_line(error)}): it may be damaged") from None


def preprocess(picture: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] of any strides -> float32 [1, 3, size, size]: resized, cut out of the centre, normalised."""
    return _resize(picture, _normalising(spec), spec)


def prepare(height: int, width: int, spec: Preprocessing) -> None:
    """Compute what preprocess() needs for pictures [height, width, 3], so that the first of them takes no longer."""
    from hydrart.picture import resize

    _normalising(spec)
    resize.prepare(height, width, spec.size, spec.resize, spec.interpolation)


def fit(picture: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """The pixels that preprocess() normalises: uint8 RGB [H, W, 3] of any strides -> uint8 [size, size, 3]."""
    values = np.tile(np.arange(256, dtype=np.float32), (3, 1))
    return np.ascontiguousarray(_resize(picture, values, spec)[0].transpose(1, 2, 0), np.uint8)


def _resize(picture: NDArray[np.uint8], table: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    from hydrart.picture.resize import resize

    return resize(picture, table, spec.size, spec.resize, spec.interpolation)


@functools.lru_cache(maxsize=16)
def _normalising(spec: Preprocessing) -> NDArray[np.float32]:
    """What becomes of each value in each channel: float32 [3, 256]."""
    values = np.arange(256, dtype=np.uint8)
    return np.ascontiguousarray(normalise([np.stack((values,) * 3, axis=1)[None]], spec)[0, :, 0])


def normalise(pictures: Sequence[NDArray[np.uint8]], spec: Preprocessing) -> NDArray[np.float32]:
    """uint8 pictures [H, W, 3] of one size -> float32 [B, 3, H, W], (x / 255 - mean) / std."""
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    x = (np.stack(pictures).astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """An image of any mode as 8-bit RGB, turned as its EXIF orientation says. `name` is for messages."""
    if image.width < 1 or image.height < 1:
        raise PictureError(f"{name} has no pixels: pass one of at least 1x1")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if image.mode == "F":
        raise PictureError(f"{name} holds floating-point pixels of unknown range: save it with 8 bits a channel")
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        image = Image.fromarray(_high_byte(np.asarray(image)))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the direct way warns
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data does not make a picture unreadable
        return 1


def _high_byte(values: NDArray[Any]) -> NDArray[np.uint8]:
    # Pillow's own conversion of 16-bit grey clips at 255, which turns most pictures white.
    return np.asarray(np.clip(values >> 8, 0, 255).astype(np.uint8))


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name} has more than {MAX_PIXELS:,} pixels: scale it down first")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
