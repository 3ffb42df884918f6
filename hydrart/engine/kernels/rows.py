"""What is done to one row of activations: normalise, convert. Plain loops, which LLVM vectorises.

Every function takes addresses of float32 rows unless its text says otherwise.
"""

import numpy as np

from hydrart.engine.kernels.intrinsics import (
    ISA,
    bits,
    f32_at,
    i8_at,
    nearest,
    u8_at,
    u16_at,
)
from hydrart.jit import kernel

F = np.float32


@kernel
def add(target, source, n):
    """target += source"""
    x, y = f32_at(target), f32_at(source)
    for i in range(n):
        x[i] += y[i]


@kernel
def layer_norm(source, target, weight, bias, n, eps):
    """LayerNorm over n channels."""
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
    """The row as it is: source and target are the same."""


@kernel
def to_bfloat16(source, target, n, scale):
    """bfloat16, rounded to nearest, ties to even."""
    x, y = f32_at(source), u16_at(target)
    for i in range(n):
        u = bits(x[i])
        y[i] = np.uint16((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@kernel
def steps(source, n, scale, levels):
    """Write step and low, so that a row is low + step * (0 to levels); returns low and the inverse of step."""
    x, out = f32_at(source), f32_at(scale)
    low, high = x[0], x[0]
    for i in range(n):
        low = min(low, x[i])
        high = max(high, x[i])
    step = (high - low) / F(levels)
    out[0], out[1] = step, low
    return low, F(1) / step if step > F(0) else F(0)


@kernel
def to_uint7(source, target, n, scale):
    """Whole numbers from 0 to 127."""
    low, factor = steps(source, n, scale, 127)
    x, y = f32_at(source), u8_at(target)
    for i in range(n):
        y[i] = np.uint8(np.int32(nearest((x[i] - low) * factor)))


@kernel
def to_uint8(source, target, n, scale):
    """Whole numbers from 0 to 255."""
    low, factor = steps(source, n, scale, 255)
    x, y = f32_at(source), u8_at(target)
    for i in range(n):
        y[i] = np.uint8(np.int32(nearest((x[i] - low) * factor)))


@kernel
def to_int8(source, target, n, scale):
    """Whole numbers from -128 to 127; low is then what 0 stands for."""
    low, factor = steps(source, n, scale, 255)
    x, y, out = f32_at(source), i8_at(target), f32_at(scale)
    out[1] = low + F(128) * out[0]
    for i in range(n):
        y[i] = np.int8(np.int32(nearest((x[i] - low) * factor)) - np.int32(128))


# dot -> how its activations are written, and the bytes of one
WRITERS = {
    "fma": (to_fp32, 4),
    "dpbf16": (to_bfloat16, 2),
    "maddubs": (to_uint7, 1),
    "sdot": (to_int8, 1),
    "smmla": (to_int8, 1),
    "bfmmla": (to_bfloat16, 2),
    "vnni": (to_uint8, 1),
}

bf16_from_row, BF16_BYTES = WRITERS[ISA.bf16]
int8_from_row, INT8_BYTES = WRITERS[ISA.int8]
FP32_BYTES = 4
