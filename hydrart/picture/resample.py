"""Resample float pictures that are normalised already: what PyTorch's F.interpolate does, with align_corners=False.

The filters are exact. The values are neither rounded nor clipped, so a resize of 8-bit pixels gives other numbers. It
is linear, so that it may come before or after the normalisation.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def resample(x: NDArray[Any], size: int) -> NDArray[Any]:
    """Resample pictures by the antialiased bicubic filter: [..., H, W] -> [..., size, size].

    x: float32 or float64, which is also the type of the computation and of the result. Where the size stays, the result
    is x itself.
    """
    if x.shape[-2:] == (size, size):
        return x
    return _apply(bicubic, x, size)


def enlarge(x: NDArray[Any], size: int) -> NDArray[Any]:
    """Resample pictures by the bilinear filter without antialias, as resample() does."""
    return _apply(bilinear, x, size)


def _apply(weigh: Callable[[int, int], Weights], x: NDArray[Any], size: int) -> NDArray[Any]:
    rows, columns = (np.asarray(weigh(side, size), x.dtype) for side in x.shape[-2:])
    return np.asarray(rows @ x @ columns.T)


@functools.lru_cache(maxsize=32)
def bicubic(side: int, size: int) -> Weights:
    """The weights of Keys' cubic filter with a = -0.5: [size, side]. It covers all pixels that become one pixel.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE ASSP 29 (1981).
    """
    scale = side / size
    stretch = max(scale, 1.0)
    weights = np.zeros((size, side))
    for i in range(size):
        centre = scale * (i + 0.5)
        taps = np.arange(
            max(int(centre - 2 * stretch + 0.5), 0), min(int(centre + 2 * stretch + 0.5), side)
        )  # of a filter that reaches over two pixels on each side
        distance = np.abs(taps + 0.5 - centre) / stretch
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        values = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
        weights[i, taps] = values / values.sum()
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=32)
def bilinear(side: int, size: int) -> Weights:
    """The weights of the two neighbours of each place: [size, side]. Beyond the border lies the outermost pixel."""
    weights = np.zeros((size, side))
    for i in range(size):
        place = max((i + 0.5) * side / size - 0.5, 0.0)
        below = int(place)
        weights[i, below] += 1 - (place - below)
        weights[i, min(below + 1, side - 1)] += place - below
    weights.flags.writeable = False
    return weights
