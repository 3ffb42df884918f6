"""What is done to one row of activations: normalise, activate, convert. Plain loops, which LLVM vectorises.

Every function takes addresses of float32 rows unless its text says otherwise.
"""

import numpy as np

from hydrart.engine.kernels.intrinsics import (
    ISA,
    bits,
    f32_at,
    from_bits,
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
def erf(x):
    """Rational approximation of the error function in float32 (Eigen's generic_fast_erf_float), error below 5e-7."""
    x = max(min(x, F(4)), F(-4))
    q = x * x
    top = F(-2.72614225801306e-10)
    top = top * q + F(2.77068142495902e-08)
    top = top * q + F(-2.10102402082508e-06)
    top = top * q + F(-5.69250639462346e-05)
    top = top * q + F(-7.34990630326855e-04)
    top = top * q + F(-2.95459980854025e-03)
    top = top * q + F(-1.60960333262415e-02)
    bottom = F(-1.45660718464996e-05)
    bottom = bottom * q + F(-2.13374055278905e-04)
    bottom = bottom * q + F(-1.68282697438203e-03)
    bottom = bottom * q + F(-7.37332916720468e-03)
    bottom = bottom * q + F(-1.42647390514189e-02)
    return x * top / bottom


@kernel
def gelu(row, n):
    """Exact (erf) GELU in place."""
    x = f32_at(row)
    for i in range(n):
        half = F(0.5) * x[i]
        x[i] = half + half * erf(x[i] * F(0.7071067811865476))


@kernel
def exp2(x):
    """2 ** x for x from -126 to 0, relative error below 2e-7: the Taylor series on the fraction, bits for the rest."""
    whole = nearest(x)
    f = x - whole
    y = F(1.5403530393381608e-4)
    y = y * f + F(1.3333558146428443e-3)
    y = y * f + F(9.618129107628477e-3)
    y = y * f + F(5.550410866482158e-2)
    y = y * f + F(2.402265069591007e-1)
    y = y * f + F(6.931471805599453e-1)
    y = y * f + F(1)
    return y * from_bits((np.int32(whole) + np.int32(127)) << np.int32(23))


@kernel
def softmax(row, n, padded, scale):
    """exp(scale * (x - max)) in place, zeros from n to padded; returns their sum, by which nothing is divided yet."""
    x = f32_at(row)
    largest = x[0]
    for i in range(n):
        largest = max(largest, x[i])
    scale = F(scale * 1.4426950408889634)
    total = F(0)
    for i in range(n):
        y = exp2(max((x[i] - largest) * scale, F(-126)))
        x[i] = y
        total += y
    for i in range(n, padded):
        x[i] = F(0)
    return total


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
    "vnni": (to_uint8, 1),
}

bf16_from_row, BF16_BYTES = WRITERS[ISA.bf16]
int8_from_row, INT8_BYTES = WRITERS[ISA.int8]
FP32_BYTES = 4
