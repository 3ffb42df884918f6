"""Convert arrays of pixels, in the layouts of cameras and programs, to uint8 RGB."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import PictureError

_BITS = (8, 10, 12, 14, 16)


class Depth:
    """Reduce 16-bit values to 8 bits.

    The values of a 12-bit sensor are 0 to 4095. Their high byte alone would give a nearly black picture.

    bits: of the sensor. None takes the fewest of 8, 10, 12, 14, 16 that hold every value so far.
    """

    def __init__(self, bits: int | None = None) -> None:
        self._bits = bits or _BITS[0]
        self._known = bits is not None

    def to_8_bits(self, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """uint16 of any shape -> uint8 of the same shape."""
        if not self._known:
            highest = int(values.max(initial=0))
            self._bits = max(self._bits, next(bits for bits in _BITS if highest < 1 << bits))
        return (values >> (self._bits - 8)).astype(np.uint8)


def as_rgb(picture: Any, depth: Depth, bgr: bool = False) -> NDArray[np.uint8]:
    """Convert an array of pixels, of any strides, to uint8 RGB [H, W, 3]. 8-bit colours are not copied.

    - [H, W] or [H, W, 1]: grey, uint8, uint16 or bool.
    - [H, W, 2]: grey and alpha, [H, W, 3]: RGB, [H, W, 4]: RGBA; uint8 or uint16. Alpha is dropped.

    depth: brings uint16 down to 8 bits. bgr: the colours are in the order of OpenCV. Raises PictureError.
    """
    if not isinstance(picture, np.ndarray):
        raise PictureError(f"a {type(picture).__name__} is not a picture: pass an array, uint8 RGB [H, W, 3]")
    channels = 1 if picture.ndim == 2 else picture.shape[2] if picture.ndim == 3 else 0
    types: tuple[type[np.generic], ...] = (np.uint8, np.uint16, np.bool_) if channels == 1 else (np.uint8, np.uint16)
    if picture.dtype not in types or channels not in (1, 2, 3, 4) or picture.size == 0:
        raise PictureError(
            f"an array of {picture.dtype} {list(picture.shape)} is not a picture: "
            "pass uint8 RGB [H, W, 3], grey [H, W] or RGBA [H, W, 4], or uint16 of these"
        )
    if picture.dtype == np.uint16:
        picture = depth.to_8_bits(picture)
    elif picture.dtype == np.bool_:
        picture = picture.view(np.uint8) * np.uint8(255)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if channels <= 2:
        return np.asarray(np.repeat(picture[:, :, :1], 3, axis=2))
    return np.asarray(picture[:, :, 2::-1] if bgr else picture[:, :, :3])


def turned(picture: NDArray[np.uint8], flip: str | None, degrees: int) -> NDArray[np.uint8]:
    """A view of the picture, turned clockwise by 0, 90, 180 or 270 degrees and then mirrored.

    flip: "h" mirrors left to right, "v" upside down, "hv" both.
    """
    picture = np.rot90(picture, -degrees // 90)
    rows, columns = (
        slice(None, None, -1 if "v" in (flip or "") else 1),
        slice(None, None, -1 if "h" in (flip or "") else 1),
    )
    return picture[rows, columns]
