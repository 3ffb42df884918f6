"""How numbers are stored: the one table of precisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
LARGEST = 1e6  # of a weight: no dot product of bounded weights and inputs overflows float32
LANE_BYTES = 4  # the kernels read weights in 32-bit lanes


@dataclass(frozen=True)
class Precision:
    """How the weights of a matrix are stored.

    - name: such as "fp32". codegen.isa.Isa.dot maps it to the arithmetic that multiplies these weights.
    - dtype: safetensors' name of the type.
    - stored: NumPy's type of the stored numbers. NumPy has no bfloat16: its bits are stored as uint16.
    - bounded: tells of stored numbers which are within LARGEST; None where all are.
    - levels: the largest stored integer where each output has a scale; 0 without scales.
    - ends: the precision of the patch embedding and of the classifier, where it differs from that of the blocks.
    """

    name: str
    dtype: str
    stored: np.dtype[Any]
    to_stored: Callable[[FloatArray], NDArray[Any]]
    from_stored: Callable[[NDArray[Any]], FloatArray]
    bounded: Callable[[NDArray[Any]], NDArray[np.bool_]] | None = None
    levels: int = 0
    ends: Precision | None = None

    @property
    def bytes(self) -> int:
        """Size of a stored number, in bytes."""
        return self.stored.itemsize

    @property
    def per(self) -> int:
        """How many consecutive inputs of one output a 32-bit lane holds."""
        return LANE_BYTES // self.bytes

    @property
    def scaled(self) -> bool:
        """Whether each output has a float32 scale."""
        return self.levels > 0

    @property
    def outer(self) -> Precision:
        """The precision of the patch embedding and of the classifier."""
        return self.ends or self

    def encode(self, rows: FloatArray) -> tuple[NDArray[Any], FloatArray | None]:
        """float32 [outputs, inputs] -> numbers of type `stored` in the same shape, and scales float32 [outputs].

        The scales are None where the precision has none. Numbers are rounded to nearest, ties to even. A scale is the
        largest absolute value of its row over `levels`, or 1 for a row of zeros.
        """
        if not self.scaled:
            return self.to_stored(rows), None
        scales = np.abs(rows).max(axis=1) / np.float32(self.levels)
        scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
        return self.to_stored(rows / scales[:, None]), scales

    def decode(self, stored: NDArray[Any], scales: FloatArray | None = None) -> FloatArray:
        """Stored [outputs, inputs] -> float32, same shape.

        scales: float32 [outputs]; None where the precision has none.
        """
        values = self.from_stored(stored)
        return values if scales is None else values * scales.reshape(-1, 1)


def _bf16(values: FloatArray) -> NDArray[Any]:
    """The upper half of a float32, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def bounded(values: FloatArray) -> NDArray[np.bool_]:
    """Which float32 numbers are finite and within LARGEST."""
    return np.asarray(np.abs(values) <= np.float32(LARGEST))


def _bounded_bf16(stored: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(stored & np.uint16(0x7FFF) <= _bf16(np.array([LARGEST], np.float32))[0])


def _from_bf16(stored: NDArray[Any]) -> FloatArray:
    return (stored.astype(np.uint32) << 16).view(np.float32)


def _from_number(stored: NDArray[Any]) -> FloatArray:
    return stored.astype(np.float32)


FP32 = Precision("fp32", "F32", np.dtype("<f4"), lambda values: values.astype("<f4"), _from_number, bounded)
BF16 = Precision("bf16", "BF16", np.dtype("<u2"), _bf16, _from_bf16, _bounded_bf16)
INT8 = Precision(
    "int8", "I8", np.dtype("i1"), lambda values: np.rint(values).astype(np.int8), _from_number, levels=127, ends=BF16
)

PRECISIONS = {precision.name: precision for precision in (FP32, BF16, INT8)}
