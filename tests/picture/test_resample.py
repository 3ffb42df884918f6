"""picture/resample.py against the formula in exact fractions, and against PyTorch."""

import math
from fractions import Fraction

import numpy as np
import pytest

from hydrart.picture.resample import bicubic, bilinear, enlarge, resample

SIDES = [(384, 160), (384, 192), (384, 240), (240, 192), (15, 12), (24, 10), (12, 15), (10, 24), (5, 7), (7, 1)]


def keys(x: Fraction) -> Fraction:
    """Keys' cubic with a = -1/2."""
    a, x = Fraction(-1, 2), abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else Fraction(0)


def exact(side: int, size: int, i: int) -> dict[int, Fraction]:
    """The weights of output i, by input."""
    scale = Fraction(side, size)
    wide = max(scale, Fraction(1))
    centre = scale * (i + Fraction(1, 2))
    first = max(math.floor(centre - 2 * wide + Fraction(1, 2)), 0)
    end = min(math.floor(centre + 2 * wide + Fraction(1, 2)), side)
    found = {j: keys((j + Fraction(1, 2) - centre) / wide) for j in range(first, end)}
    return {j: weight / sum(found.values()) for j, weight in found.items()}


@pytest.mark.parametrize(("side", "size"), SIDES)
def test_the_bicubic_weights_are_those_of_the_formula(side: int, size: int) -> None:
    weights = bicubic(side, size)
    expected = np.zeros((size, side))
    for i in range(size):
        for j, weight in exact(side, size, i).items():
            expected[i, j] = weight
    np.testing.assert_allclose(weights, expected, atol=1e-14)


def test_the_number_of_taps() -> None:
    for side, size, taps in ((384, 160, 10), (384, 192, 8), (384, 240, 7), (240, 192, 5)):
        assert (bicubic(side, size) != 0).sum(axis=1).max() <= taps


def test_it_overshoots_and_is_not_clipped() -> None:
    step = np.repeat([0.0, 1.0], 192)[None].repeat(384, axis=0)[None, None]
    y = resample(step, 160)
    assert 1.012 < y.max() < 1.013 and -0.013 < y.min() < -0.012
    np.testing.assert_allclose(resample(3 * step - 1, 160), 3 * y - 1, atol=1e-12)


def test_dtypes_and_shapes() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 24, 24))
    assert resample(x, 24) is x
    for dtype in (np.float32, np.float64):
        y = resample(x.astype(dtype), 10)
        assert y.shape == (2, 3, 10, 10) and y.dtype == dtype
        assert enlarge(x.astype(dtype), 30).dtype == dtype
    np.testing.assert_allclose(resample(x.astype(np.float32), 10), resample(x, 10), atol=1e-5)


def test_bilinear_by_hand() -> None:
    expected = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(bilinear(2, 4), expected, atol=1e-15)
    np.testing.assert_allclose(bilinear(3, 3), np.eye(3), atol=1e-15)


@pytest.mark.parametrize(("side", "size"), SIDES)
def test_pytorch_gives_the_same(side: int, size: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    x = np.random.default_rng(0).standard_normal((1, 2, side, side))
    # PyTorch's float32 places are inexact, and between two neighbours that weighs most
    for mode, ours, antialias, close in (("bicubic", resample, True, 1e-4), ("bilinear", enlarge, False, 5e-4)):
        for dtype, bound in ((np.float64, 1e-12), (np.float32, close)):
            options = {"mode": mode, "antialias": antialias, "align_corners": False}
            theirs = torch.nn.functional.interpolate(torch.from_numpy(x.astype(dtype)), (size, size), **options)
            np.testing.assert_allclose(ours(x.astype(dtype), size), theirs.numpy(), atol=bound, err_msg=mode)
