"""picture/inputs.py: what a network may be given."""

import numpy as np
import pytest

from hydrart.errors import PictureError
from hydrart.picture.inputs import checked


def test_floats_of_any_kind_become_float32() -> None:
    x = np.arange(2 * 3 * 4 * 4.0).reshape(2, 4, 4, 3).transpose(0, 3, 1, 2)
    for dtype in (np.float16, np.float32, np.float64):
        y = checked(x.astype(dtype), 4)
        assert y.dtype == np.float32 and y.flags.c_contiguous
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4, 4), (1, 3, 4, 5), (1, 3, 8, 8)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match=r"does not fit: pass float32 \[B, 3, 4, 4\]"):
        checked(np.zeros(shape), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e13, 1e300])
def test_numbers_that_are_none(value: float) -> None:
    x = np.zeros((1, 3, 4, 4))
    x[0, 1, 2, 3] = value
    with pytest.raises(PictureError, match="not finite, or beyond 1e"):
        checked(x, 4)


def test_integers_and_what_is_no_array() -> None:
    with pytest.raises(PictureError, match="an input of uint8"):
        checked(np.zeros((1, 3, 4, 4), np.uint8), 4)
    with pytest.raises(PictureError, match="the input is no array"):
        checked([[1.0], [1.0, 2.0]], 4)  # type: ignore[arg-type]
