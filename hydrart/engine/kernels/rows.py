"""What is done to one row of activations: normalise, convert. Plain loops, which LLVM vectorises.

Every function takes addresses of float32 rows unless its text says otherwise.
"""

import numpy as np

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
def to_integers(source, target, n, scale):
    """Bytes of the range that the dot wants; step and low go to scale."""
    quantise(source, n, target, scale)


# dot -> how its activations are written, and the bytes of one
WRITERS = {
    "fma": (to_fp32, 4),
    "dpbf16": (to_bfloat16, 2),
    "tdpbf16": (to_bfloat16, 2),
    "maddubs": (to_integers, 1),
    "sdot": (to_integers, 1),
    "smmla": (to_integers, 1),
    "bfmmla": (to_bfloat16, 2),
    "vnni": (to_integers, 1),
    "tdpbusd": (to_integers, 1),
}

bf16_from_row, BF16_BYTES = WRITERS[ISA.bf16]
int8_from_row, INT8_BYTES = WRITERS[ISA.int8]
FP32_BYTES = 4
