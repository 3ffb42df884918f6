"""Check what a network is given."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import PictureError
from hydrart.format.precision import FloatArray

_LARGEST = 1e12  # of an input; what preprocess() makes of a picture is no larger, whatever mean and std a file has


def checked(x: NDArray[Any], size: int) -> FloatArray:
    """An input that any engine takes: float [B, 3, size, size] -> float32, contiguous. Raises PictureError."""
    try:
        x = np.asarray(x)
    except ValueError:
        raise PictureError(f"the input is no array: pass float32 [B, 3, {size}, {size}]") from None
    if x.ndim != 4 or x.shape[1:] != (3, size, size) or x.dtype.kind != "f":
        raise PictureError(
            f"an input of {x.dtype} {list(x.shape)} does not fit: pass float32 [B, 3, {size}, {size}], "
            "as preprocess() makes it"
        )
    with np.errstate(over="ignore"):  # refused below
        x = np.ascontiguousarray(x, np.float32)
    if x.size and not (x.min() >= -_LARGEST and x.max() <= _LARGEST):  # NaN fails both
        raise PictureError(
            f"the input holds numbers that are not finite, or beyond {_LARGEST:g}: normalise the picture, as "
            "preprocess() does"
        )
    return x
