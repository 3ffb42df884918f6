"""softmax(q k^T / sqrt(head_dim)) v, a head at a time, in float32 for every precision of the weights.

q, k and v of a head lie side by side in a row of the qkv activations: [head][q | k | v][head_dim].
"""

import numpy as np
from numba.extending import register_jitable

from hydrart.engine.kernels.gemm import COLUMNS, ROWS
from hydrart.engine.kernels.intrinsics import ISA, bits, f32_at, gemm_fp32, softmax, transpose
from hydrart.jit import kernel

LANES = ISA.lanes


@register_jitable
def padded(n: int, to: int) -> int:
    return -(-n // to) * to


@register_jitable
def scratch_bytes(tokens: int, head_dim: int) -> int:
    """Panels of the keys and the values of one head, scores and outputs of ROWS tokens, and room to align them."""
    wide = padded(tokens, max(COLUMNS, 16))
    columns = padded(head_dim, COLUMNS)
    return (wide * head_dim + wide * columns + ROWS * (wide + 16) + ROWS * columns) * 4 + 256


@kernel
def pack_keys(keys, stride, tokens, head_dim, panels):
    """Keys [tokens, head_dim], `stride` bytes apart, transposed into panels [head_dim][COLUMNS of tokens]."""
    for token in range(0, tokens, LANES):
        target = panels + (token // COLUMNS * head_dim * COLUMNS + token % COLUMNS) * 4
        if token + LANES <= tokens:
            for d in range(0, head_dim, LANES):
                transpose(keys + token * stride + d * 4, stride, target + d * COLUMNS * 4, COLUMNS * 4)
        else:
            x = f32_at(target)
            for d in range(head_dim):
                for i in range(LANES):
                    x[d * COLUMNS + i] = np.float32(0)
            for i in range(tokens - token):
                y = f32_at(keys + (token + i) * stride)
                for d in range(head_dim):
                    x[d * COLUMNS + i] = y[d]
    # the rest of the last panel
    for token in range(padded(tokens, LANES), padded(tokens, COLUMNS)):
        x = f32_at(panels + (token // COLUMNS * head_dim * COLUMNS + token % COLUMNS) * 4)
        for d in range(head_dim):
            x[d * COLUMNS] = np.float32(0)


@kernel
def pack_values(values, stride, tokens, steps, head_dim, panels):
    """Values [tokens, head_dim] into panels [steps][COLUMNS of head_dim]; zeros from `tokens` to `steps`."""
    for begin in range(0, head_dim, COLUMNS):
        width = min(COLUMNS, head_dim - begin)
        for token in range(steps):
            x = f32_at(panels + (begin * steps + token * COLUMNS) * 4)
            y = f32_at(values + token * stride + begin * 4)
            if token < tokens:
                for i in range(width):
                    x[i] = y[i]
                for i in range(width, COLUMNS):
                    x[i] = np.float32(0)
            else:
                for i in range(COLUMNS):
                    x[i] = np.float32(0)


@kernel
def attend(qkv, stride, tokens, head_dim, begin, end, out, out_stride, scratch):
    """One head of one picture, for the tokens begin to end.

    qkv: address of the picture's first q of this head, rows `stride` bytes apart; rows after the last token may be
    read, and are not used. out: address of the head's columns in the picture's first row.
    """
    steps = padded(tokens, 4)
    wide = padded(tokens, COLUMNS)
    columns = padded(head_dim, COLUMNS)
    keys = padded(scratch, 64)
    values = keys + wide * head_dim * 4
    scores = values + padded(steps, 16) * columns * 4
    score_stride = (max(wide, steps) + 16) * 4
    result = padded(scores + ROWS * score_stride, 64)
    pack_keys(qkv + head_dim * 4, stride, tokens, head_dim, keys)
    pack_values(qkv + 2 * head_dim * 4, stride, tokens, steps, head_dim, values)
    scale = np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim)))))
    inverses = result + ROWS * columns * 4
    for token in range(begin, end, ROWS):
        for panel in range(wide // COLUMNS):
            b = keys + panel * head_dim * COLUMNS * 4
            c = scores + panel * COLUMNS * 4
            gemm_fp32(qkv + token * stride, stride, b, head_dim, b, c, score_stride, 0, 0, 0, 0, 0, 0)
        count = min(ROWS, end - token)
        for r in range(ROWS):
            softmax(scores + r * score_stride, tokens, scale, inverses + r * 4)
        for panel in range(columns // COLUMNS):
            b = values + panel * steps * COLUMNS * 4
            c = result + panel * COLUMNS * 4
            gemm_fp32(scores, score_stride, b, steps, b, c, columns * 4, 0, 0, 0, inverses, 0, 0)
        for r in range(count):
            x, y = f32_at(result + r * columns * 4), f32_at(out + (token + r) * out_stride)
            for d in range(head_dim):
                y[d] = x[d]


@kernel
def attend_first(q, qkv, stride, tokens, head_dim, out, scratch):
    """One head for one query q [head_dim] over all tokens of a picture -> out [head_dim]; all addresses."""
    scores, x = f32_at(scratch), f32_at(q)
    for token in range(tokens):
        y = f32_at(qkv + token * stride + head_dim * 4)
        total = np.float32(0)
        for d in range(head_dim):
            total += x[d] * y[d]
        scores[token] = total
    inverse = scratch + padded(tokens, 16) * 4
    softmax(scratch, tokens, np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim))))), inverse)
    factor = f32_at(inverse)[0]
    z = f32_at(out)
    for d in range(head_dim):
        z[d] = np.float32(0)
    for token in range(tokens):
        y = f32_at(qkv + token * stride + 2 * head_dim * 4)
        share = scores[token] * factor
        for d in range(head_dim):
            z[d] += share * y[d]
