"""Tensors of a checkpoint as they are stored: views of the mapped file, neither copied nor converted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import HydrartError
from hydrart.format.precision import BF16, FloatArray

# float16, float32 or float64; uint16 holds the bits of bf16, for which NumPy has no type
Stored = NDArray[Any]


class CheckpointError(HydrartError):
    """A checkpoint is missing, damaged, unsafe, or of a network that hydrart does not run."""


@dataclass(frozen=True)
class Unusable:
    """A tensor that cannot be converted. In a message, `why` follows the tensor's name."""

    why: str


def integers(kind: str) -> Unusable:
    """Make the Unusable of a tensor whose type is none of the four floats."""
    return Unusable(f"holds {kind} numbers: convert the float checkpoint instead")


def as_float32(tensor: Stored) -> FloatArray:
    """Convert a tensor to float32. An aligned float32 tensor is not copied."""
    if tensor.dtype == np.uint16:
        return BF16.decode(tensor)
    with np.errstate(over="ignore"):  # the writer refuses the infinity that an overflow gives
        return np.require(tensor, np.float32, "A")
