"""Augment whole batches as tensors: crops and mirror images, RandAugment, mixup.

All randomness comes from the NumPy generator that the caller passes. Sources: E. Cubuk et al., "RandAugment", 2020;
H. Zhang et al., "mixup", 2018.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MAX_SHIFT = 0.125  # largest shift of a crop, as a share of the picture's side

_OPERATIONS = 2  # number of the operations below that each picture gets
_GREY = (0.299, 0.587, 0.114)


def augment(x: Tensor, rng: np.random.Generator, kind: str) -> Tensor:
    """Augment uint8 pictures [B, 3, S, S] -> float32 of the same shape, 0 to 255. kind: "crop" or "strong"."""
    x = crop_and_mirror(x, rng, round(MAX_SHIFT * x.shape[-1])).float()
    return rand_augment(x, rng) if kind == "strong" else x


def crop_and_mirror(x: Tensor, rng: np.random.Generator, padding: int) -> Tensor:
    """Crop at random after reflecting `padding` pixels, and mirror at random: uint8 [B, C, S, S] -> the same."""
    batch, channels, size, _ = x.shape
    x = F.pad(x.float(), (padding,) * 4, mode="reflect").byte()
    top, left = (_tensor(rng.integers(0, 2 * padding + 1, batch), x) for _ in range(2))
    steps = torch.arange(size, device=x.device)
    columns = left[:, None] + steps
    mirrored = _tensor(rng.random(batch) < 0.5, x)
    columns[mirrored] = columns[mirrored].flip(1)
    rows = (top[:, None] + steps)[:, None, :, None]
    index = (
        torch.arange(batch, device=x.device)[:, None, None, None],
        torch.arange(channels, device=x.device)[None, :, None, None],
    )
    return x[(*index, rows, columns[:, None, None, :])]


def mixup(x: Tensor, rng: np.random.Generator, alpha: float) -> tuple[Tensor, float]:
    """Blend each picture with one of the reversed batch: the first picture with the last, and so on.

    x: float32 [B, 3, S, S]. Returns the blended pictures and the share that each picture keeps of itself.
    """
    if not alpha:
        return x, 1.0
    share = float(rng.beta(alpha, alpha))
    return share * x + (1 - share) * x.flip(0), share


def rand_augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Apply two random operations of random strength to each picture: float [B, 3, S, S], 0 to 255 -> the same."""
    x = x.clone()
    for _ in range(_OPERATIONS):
        chosen = rng.integers(0, len(OPERATIONS), len(x))
        draws = _tensor(rng.uniform(-1, 1, (2, len(x), 1, 1, 1)).astype(np.float32), x)
        for number, operation in enumerate(OPERATIONS):
            at = _tensor(np.flatnonzero(chosen == number), x)
            if len(at):
                x[at] = operation(x[at], draws[:, at])
    return x.clamp(0, 255)


def _brightness(x: Tensor, r: Tensor) -> Tensor:
    return (x * (1 + 0.6 * r[0])).clamp(0, 255)


def _contrast(x: Tensor, r: Tensor) -> Tensor:
    mean = _grey(x).mean((1, 2, 3), keepdim=True)
    return (mean + (x - mean) * (1 + 0.6 * r[0])).clamp(0, 255)


def _saturation(x: Tensor, r: Tensor) -> Tensor:
    grey = _grey(x)
    return (grey + (x - grey) * (1 + 0.8 * r[0])).clamp(0, 255)


def _sharpness(x: Tensor, r: Tensor) -> Tensor:
    smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (smooth + (x - smooth) * (1 + 0.9 * r[0])).clamp(0, 255)


def _posterise(x: Tensor, r: Tensor) -> Tensor:
    step = torch.exp2((4 * r[0].abs()).round())
    return torch.floor(x / step) * step


def _solarise(x: Tensor, r: Tensor) -> Tensor:
    return torch.where(x < 256 * (1 - 0.6 * r[0].abs()), x, 255 - x)


def _stretch(x: Tensor, r: Tensor) -> Tensor:
    """Stretch each channel to the full range of 0 to 255."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1)), x)


def _rotate(x: Tensor, r: Tensor) -> Tensor:
    angle = r[0].flatten() * math.radians(25)
    return _warp(x, angle.cos(), -angle.sin(), 0 * angle, angle.sin(), angle.cos(), 0 * angle)


def _shear_x(x: Tensor, r: Tensor) -> Tensor:
    one, zero, by = _constants(r[0])
    return _warp(x, one, 0.3 * by, zero, zero, one, zero)


def _shear_y(x: Tensor, r: Tensor) -> Tensor:
    one, zero, by = _constants(r[0])
    return _warp(x, one, zero, zero, 0.3 * by, one, zero)


def _move(x: Tensor, r: Tensor) -> Tensor:
    one, zero, by = _constants(r[0])
    return _warp(x, one, zero, 0.4 * by, zero, one, 0.4 * r[1].flatten())


def _erase(x: Tensor, r: Tensor) -> Tensor:
    """Draw a grey square. Its side is 0.4 of the picture's."""
    size = x.shape[-1]
    steps = (torch.arange(size, device=x.device) + 0.5) / size
    row, column = (r + 1) / 2
    inside = ((steps[:, None] - row).abs() < 0.2) & ((steps - column).abs() < 0.2)
    return torch.where(inside, 128.0, x)


def _identity(x: Tensor, r: Tensor) -> Tensor:
    return x


# x: float [B, 3, S, S], 0 to 255; r: two random numbers from -1 to 1 for each picture, [2, B, 1, 1, 1]
OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    _identity,
    _brightness,
    _contrast,
    _saturation,
    _sharpness,
    _posterise,
    _solarise,
    _stretch,
    _rotate,
    _shear_x,
    _shear_y,
    _move,
    _erase,
)


def _warp(x: Tensor, *rows: Tensor) -> Tensor:
    """Apply an affine map of [-1, 1]^2, given by its rows, each [B]. Points outside of the picture are mirrored."""
    theta = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _constants(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    by = s.flatten()
    return torch.ones_like(by), torch.zeros_like(by), by


def _grey(x: Tensor) -> Tensor:
    return (x * torch.tensor(_GREY, device=x.device).view(3, 1, 1)).sum(1, keepdim=True)


def _tensor(values: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device)
