"""Turn a picture into the network's input as timm does: resize the short side, crop the centre, normalise.

Pillow reads the picture, and its EXIF orientation is applied, as viewers do. The resize (bicubic with antialias) gives
Pillow's bits. So the input is the same as in the training tools.
"""

import contextlib
import functools
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from hydrart.errors import PictureError
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.colour import Depth, as_rgb
from hydrart.picture.folders import PICTURE_FORMATS

Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]

FITS = ("crop", "pad", "stretch")

MAX_PIXELS = 89_478_485  # Pillow's limit against decompression bombs: 1 GiB / 4 / 3 pixels

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> operation that makes the picture upright


class Box(NamedTuple):
    """A rectangle in a picture, in shares of its width and height: 0 to 1."""

    left: float
    top: float
    width: float
    height: float


def read_picture(picture: Picture, bgr: bool = False, depth: Depth | None = None) -> NDArray[np.uint8]:
    """Read a path, PIL image or array as uint8 RGB [H, W, 3], upright.

    as_rgb() says which arrays; their 8-bit colours are not copied. Alpha is dropped. 16-bit files keep their high byte.
    depth brings 16-bit arrays down; without one, they have the fewest of 8, 10, 12, 14 and 16 bits that hold their
    values. bgr: an array has its colours in the order of OpenCV. Raises PictureError.
    """
    if isinstance(picture, np.ndarray):
        return as_rgb(picture, depth or Depth(), bgr)
    if bgr:
        raise PictureError(f"bgr=True is for arrays, a {type(picture).__name__} knows its colours: leave it out")
    if isinstance(picture, Image.Image):
        name = str(getattr(picture, "filename", "") or "the picture")
        with decoding(name):
            return np.asarray(upright_rgb(picture, name))
    if not isinstance(picture, str | os.PathLike):
        raise PictureError(
            f"a {type(picture).__name__} is not a picture: pass a path, a PIL image or a uint8 RGB array"
        )
    path = Path(picture)
    if not os.fspath(picture):
        raise PictureError("an empty text is no path: pass the path of a picture file")
    if "://" in str(picture) and not os.path.exists(path):
        raise PictureError("the address of a picture is not opened: download it, and pass the path of the file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise PictureError(f"{path} is a folder or a device: pass a picture file")
    with decoding(path), open_picture(path) as image:
        return np.asarray(upright_rgb(image, str(path)))


def open_picture(path: Path) -> Image.Image:
    """Open a picture file in one of PICTURE_FORMATS, whatever its name is; every picture is opened here.

    Pillow alone would try every format that it knows, and some run other programs: Ghostscript executes an EPS. Raises
    OSError, UnidentifiedImageError and whatever decoders raise.
    """
    return Image.open(path, formats=_readable())


@functools.cache
def _readable() -> tuple[str, ...]:
    """The PICTURE_FORMATS that this Pillow has."""
    for plugin in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Png", "Ppm", "Tiff", "WebP"):
        with contextlib.suppress(ImportError):  # AVIF came with Pillow 11.3
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Turn any error while the picture `path` is decoded into a PictureError that names the picture."""
    try:
        yield
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist: check the path") from None
    except PermissionError:
        raise PictureError(f"{path} may not be read: check its permissions") from None
    except UnidentifiedImageError:
        raise PictureError(
            f"{path} is not a picture in a format that hydrart reads: convert it to JPEG or PNG"
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(str(path)) from None
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # on hostile bytes, decoders raise nearly anything
        raise PictureError(f"{path} cannot be decoded ({_one_line(error)}): it may be damaged") from None


def preprocess(picture: NDArray[np.uint8], spec: Preprocessing, fit: str = "crop") -> NDArray[np.float32]:
    """Resize, make a square, normalise: uint8 RGB [H, W, 3] of any strides -> float32 [1, 3, size, size].

    fit: how a picture of any shape becomes a square, one of FITS.

    - "crop": the short side becomes spec.resize pixels, and the centre is cut out. So the networks were trained.
    - "pad": the long side becomes `size` pixels, and around the rest lies the mean colour.
    - "stretch": both sides become `size` pixels.
    """
    from hydrart.picture.resize import border

    x = _resize(picture, _normalising(spec), spec, fit)
    if fit == "pad":
        height, width, _ = picture.shape
        for axis, side in enumerate(_sides(height, width, spec, fit), 2):
            before = border(side, spec.size)
            outside = np.moveaxis(x, axis, 0)
            outside[:before] = outside[before + side :] = 0.0  # the mean colour, normalised
    return x


def prepare(height: int, width: int, spec: Preprocessing, fit: str = "crop") -> None:
    """Compute beforehand what preprocess() needs for pictures [height, width, 3], so that the first is as fast."""
    from hydrart.picture import resize

    _normalising(spec)
    resize.prepare(height, width, spec.size, _sides(height, width, spec, fit), spec.interpolation)


def seen(height: int, width: int, spec: Preprocessing, fit: str = "crop") -> Box:
    """The part of a picture [height, width, 3] that becomes the input, as preprocess() takes it."""
    shares = [min(1.0, spec.size / side) for side in _sides(height, width, spec, fit)]
    (top, tall), (left, wide) = (((1 - share) / 2, share) for share in shares)
    return Box(left, top, wide, tall)


def _sides(height: int, width: int, spec: Preprocessing, fit: str) -> tuple[int, int]:
    """The pixels that height and width become."""
    if fit == "stretch":
        return spec.size, spec.size
    if fit == "pad":
        longest = max(height, width)
        tall, wide = (max(1, round(spec.size * side / longest)) for side in (height, width))
        return tall, wide
    shortest = min(height, width)
    # torchvision's rounding: the long side is cut off
    return spec.resize * height // shortest, spec.resize * width // shortest


def square(picture: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """The pixels that preprocess() normalises: uint8 RGB [H, W, 3] of any strides -> uint8 [size, size, 3]."""
    values = np.tile(np.arange(256, dtype=np.float32), (3, 1))
    return np.ascontiguousarray(_resize(picture, values, spec, "crop")[0].transpose(1, 2, 0), np.uint8)


def _resize(
    picture: NDArray[np.uint8], table: NDArray[np.float32], spec: Preprocessing, fit: str
) -> NDArray[np.float32]:
    from hydrart.picture.resize import resize

    height, width, _ = picture.shape
    return resize(picture, table, spec.size, _sides(height, width, spec, fit), spec.interpolation)


@functools.lru_cache(maxsize=16)
def _normalising(spec: Preprocessing) -> NDArray[np.float32]:
    """The normalised value of each 8-bit value in each channel, float32 [3, 256]."""
    values = np.arange(256, dtype=np.uint8)
    return np.ascontiguousarray(normalise([np.stack((values,) * 3, axis=1)[None]], spec)[0, :, 0])


def normalise(pictures: Sequence[NDArray[np.uint8]], spec: Preprocessing) -> NDArray[np.float32]:
    """Compute (x / 255 - mean) / std: uint8 pictures [H, W, 3] of one size -> float32 [B, 3, H, W]."""
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    x = (np.stack(pictures).astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB and apply its EXIF orientation.

    name: how messages call the image. Raises PictureError.
    """
    if image.width < 1 or image.height < 1:
        raise PictureError(f"{name} has no pixels: pass one of at least 1x1")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if image.mode == "F":
        raise PictureError(f"{name} holds floating-point pixels of unknown range: save it with 8 bits a channel")
    image.load()  # turns some formats, TIFF among them, and takes the orientation away
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        image = Image.fromarray(_high_byte(np.asarray(image)))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns where such an image is converted to RGB at once
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a picture with damaged EXIF data is still readable
        return 1


def _high_byte(values: NDArray[Any]) -> NDArray[np.uint8]:
    # Pillow's conversion of 16-bit grey clips at 255 and would turn most pictures white.
    return np.asarray(np.clip(values >> 8, 0, 255).astype(np.uint8))


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name} has more than {MAX_PIXELS:,} pixels: scale it down first")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
