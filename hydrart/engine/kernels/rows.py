"""Operations on one row of activations: copy, add, normalise, convert for a dot. LLVM vectorises these plain loops.

Arguments are addresses of float32 rows unless a docstring says otherwise. n is the number of values in a row.
"""

import numpy as np

from hydrart.codegen.isa import FLOAT_DOTS
from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.intrinsics import (
    ISA,
    bits,
    f32_at,
    quantise,
    u16_at,
)

F = np.float32


@kernel
def copy(source, target, n):
    """target = source"""
    x, y = f32_at(source), f32_at(target)
    for i in range(n):
        y[i] = x[i]


@kernel
def add(target, source, n):
    """target += source"""
    x, y = f32_at(target), f32_at(source)
    for i in range(n):
        x[i] += y[i]


@kernel
def scale(source, target, n, factor):
    """target = source * factor"""
    x, y = f32_at(source), f32_at(target)
    for i in range(n):
        y[i] = x[i] * factor


@kernel
def add_scaled(target, source, n, factor):
    """target += source * factor"""
    x, y = f32_at(target), f32_at(source)
    for i in range(n):
        x[i] += y[i] * factor


@kernel
def layer_norm(source, target, weight, bias, n, eps):
    """LayerNorm: (x - mean) / sqrt(variance + eps) * weight + bias, over n channels.

    It computes the mean first, then the variance from it, in float32. LLVM may reorder both sums.
    """
    x, y, w, b = f32_at(source), f32_at(target), f32_at(weight), f32_at(bias)
    total = F(0)
    for i in range(n):
        total += x[i]
    mean = total / F(n)
    total = F(0)
    for i in range(n):
        total += (x[i] - mean) * (x[i] - mean)
    factor = F(1) / np.sqrt(total / F(n) + F(eps))
    for i in range(n):
        y[i] = (x[i] - mean) * factor * w[i] + b[i]


@kernel
def to_fp32(source, target, n, scale):
    """Do nothing, because source and target are the same row."""


@kernel
def to_bfloat16(source, target, n, scale):
    """Round to bfloat16, to nearest, ties to even. Infinities and the NaNs of arithmetic are kept."""
    x, y = f32_at(source), u16_at(target)
    for i in range(n):
        u = bits(x[i])
        y[i] = np.uint16((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@kernel
def to_integers(source, target, n, scale):
    """Quantise to bytes in the range of the dot (isa.ACTIVATIONS), rounded to nearest. scale gets step and low."""
    quantise(source, n, target, scale)


def _writer(dot):
    """The function that converts activations for a dot, and the bytes of one activation."""
    if dot == "fma":
        return to_fp32, 4
    return (to_bfloat16, 2) if dot in FLOAT_DOTS else (to_integers, 1)


bf16_from_row, BF16_BYTES = _writer(ISA.bf16)
int8_from_row, INT8_BYTES = _writer(ISA.int8)
FP32_BYTES = 4
