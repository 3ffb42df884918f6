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


def as_rgb(picture: Any, depth: Depth) -> NDArray[np.uint8]:
    """Convert a picture to uint8 RGB [H, W, 3].

    picture: uint8 or uint16 of any strides: grey [H, W] or [H, W, 1], RGB [H, W, 3] or RGBA [H, W, 4]. 8-bit RGB is not
    copied. Raises PictureError.
    """
    if not isinstance(picture, np.ndarray):
        raise PictureError(f"a {type(picture).__name__} is no frame: give arrays, uint8 RGB [H, W, 3]")
    good = picture.dtype in (np.uint8, np.uint16) and picture.ndim in (2, 3) and picture.size > 0
    if not good or (picture.ndim == 3 and picture.shape[2] not in (1, 3, 4)):
        raise PictureError(
            f"an array of {picture.dtype} {list(picture.shape)} is no frame: give uint8 RGB [H, W, 3], or grey [H, W]"
        )
    if picture.dtype == np.uint16:
        picture = depth.to_8_bits(picture)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.shape[2] == 1:
        return np.asarray(np.repeat(picture, 3, axis=2))
    return np.asarray(picture[:, :, :3])


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
