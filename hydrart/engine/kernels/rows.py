"""What is done to one row of activations: normalise, add, convert for a dot. Plain loops, which LLVM vectorises.

Arguments are addresses of float32 rows unless their text says otherwise; n is a count of numbers.
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
def layer_norm(source, target, weight, bias, n, eps):
    """LayerNorm: (x - mean) / sqrt(variance + eps) * weight + bias, over n channels.

    The mean is computed first, then the variance from it, in float32; LLVM may reorder both sums.
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
    """Nothing: source and target are the same row."""


@kernel
def to_bfloat16(source, target, n, scale):
    """bfloat16, rounded to nearest, ties to even. Infinities stay, and so do the NaNs that arithmetic makes."""
    x, y = f32_at(source), u16_at(target)
    for i in range(n):
        u = bits(x[i])
        y[i] = np.uint16((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@kernel
def to_integers(source, target, n, scale):
    """Bytes in the range of the dot (isa.ACTIVATIONS), rounded to nearest; step and low are written to scale."""
    quantise(source, n, target, scale)


def _writer(dot):
    """How the activations of a dot are written, and the bytes of one."""
    if dot == "fma":
        return to_fp32, 4
    return (to_bfloat16, 2) if dot in FLOAT_DOTS else (to_integers, 1)


bf16_from_row, BF16_BYTES = _writer(ISA.bf16)
int8_from_row, INT8_BYTES = _writer(ISA.int8)
FP32_BYTES = 4
