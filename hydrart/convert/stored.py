"""Tensors as they lie in a checkpoint: views of the mapped file, which no one has copied or converted yet."""

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
    """A tensor that cannot be converted; `why` ends the sentence that begins with its name."""

    why: str


def integers(kind: str) -> Unusable:
    """A tensor of another type than the four floats."""
    return Unusable(f"holds {kind} numbers: convert the float checkpoint instead")


def as_float32(tensor: Stored) -> FloatArray:
    """The numbers of a tensor; float32 ones stay where they lie, if they are aligned."""
    if tensor.dtype == np.uint16:
        return BF16.decode(tensor)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused where it is written
        return np.require(tensor, np.float32, "A")
