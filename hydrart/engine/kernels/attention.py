"""softmax(q k^T / sqrt(head_dim)) v, a head at a time, in float32 or, short, with products of bfloat16.

q, k and v of a head lie side by side in a row of the qkv activations: [head][q | k | v][head_dim].
"""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen.emit_gemm import LISTS, STORE
from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.gemm import (
    BLOCKS,
    COLUMNS,
    LANES,
    ROWS,
    VECTORS,
    describe_nothing,
    describe_panel,
    run_of,
)
from hydrart.engine.kernels.intrinsics import (
    ISA,
    bits,
    configure,
    f32_at,
    from_bits,
    gemm_bf16,
    gemm_fp32,
    pair_rows,
    release,
    softmax,
    softmax_bf16,
    transpose,
    u16_at,
)

SHORT = ISA.short
RECORD = (LISTS + VECTORS) * 8
MOST = ROWS * BLOCKS  # tokens at a time


@register_jitable
def padded(n: int, to: int) -> int:
    return -(-n // to) * to


@register_jitable
def scratch_bytes(tokens: int, head_dim: int) -> int:
    """Panels of the keys and the values of one head, scores and outputs of MOST tokens, records, room to align them."""
    wide = padded(tokens, max(COLUMNS, 16))
    columns = padded(head_dim, COLUMNS)
    records = (wide // COLUMNS + columns // COLUMNS + 1) * RECORD
    return (wide * head_dim + wide * columns + MOST * (wide + 17) + MOST * columns) * 4 + records + 320


@kernel
def pack_keys(keys, stride, tokens, lanes, panels):
    """Keys [tokens, 32-bit lanes], `stride` bytes apart, transposed into panels [lanes][COLUMNS of tokens]."""
    for token in range(0, tokens, LANES):
        target = panels + (token // COLUMNS * lanes * COLUMNS + token % COLUMNS) * 4
        if token + LANES <= tokens:
            for d in range(0, lanes, LANES):
                transpose(keys + token * stride + d * 4, stride, target + d * COLUMNS * 4, COLUMNS * 4)
        else:
            x = f32_at(target)
            for d in range(lanes):
                for i in range(LANES):
                    x[d * COLUMNS + i] = np.float32(0)
            for i in range(tokens - token):
                y = f32_at(keys + (token + i) * stride)
                for d in range(lanes):
                    x[d * COLUMNS + i] = y[d]


@kernel
def pack_values(values, stride, tokens, steps, head_dim, panels):
    """Float32 values [tokens, head_dim] into panels [steps][COLUMNS of head_dim]; zeros from `tokens` to `steps`."""
    for begin in range(0, head_dim, COLUMNS):
        width = min(COLUMNS, head_dim - begin)
        for token in range(steps):
            x = f32_at(panels + (begin * steps + token * COLUMNS) * 4)
            y = f32_at(values + token * stride + begin * 4)
            if token < tokens:
                for i in range(width):
                    x[i] = y[i]
            else:
                for i in range(width):
                    x[i] = np.float32(0)


@kernel
def pack_pairs(values, stride, tokens, steps, head_dim, zeros, panels):
    """The same for bfloat16, two tokens to a step. zeros: address of a row of zeros."""
    for begin in range(0, head_dim, COLUMNS):
        for step in range(steps):
            first = values + 2 * step * stride if 2 * step < tokens else zeros
            second = values + (2 * step + 1) * stride if 2 * step + 1 < tokens else zeros
            target = panels + (begin * steps + step * COLUMNS) * 4
            for column in range(0, min(COLUMNS, head_dim - begin), LANES):
                at = (begin + column) * 2
                pair_rows(first + at, second + at, target + column * 4)


@kernel
def product(short, n, blocks, a, lda, record, steps, nothing, c, ldc, row_scale):
    """A register tile of n columns."""
    vectors = min(VECTORS, -(-n // LANES))
    if SHORT and short:
        gemm_bf16(vectors, blocks, a, lda, record, steps, nothing, 0, c, ldc, STORE, 0, 0, row_scale, 0, 0)
    else:
        gemm_fp32(vectors, 1, a, lda, record, steps, nothing, 0, c, ldc, STORE, 0, 0, row_scale, 0, 0)


@kernel
def attend(qkv, stride, tokens, head_dim, short, begin, end, out, out_stride, scratch):
    """One head of one picture, for the tokens begin to end.

    qkv: address of the picture's first q of this head, rows `stride` bytes apart, float32 or, short, bfloat16; rows
    after the last token may be read, and are not used. out: address of the head's columns in the picture's first row,
    float32.
    """
    per = 2 if short else 1  # values to a 32-bit lane
    width = head_dim * 4 // per
    lanes = head_dim // per
    of_tiles = short and BLOCKS > 1
    steps = padded(-(-tokens // per), 8 if of_tiles else 4)
    key_panels, value_panels = -(-tokens // COLUMNS), -(-head_dim // COLUMNS)
    wide, columns = key_panels * COLUMNS, value_panels * COLUMNS
    keys = padded(scratch, 64)
    values = keys + wide * lanes * 4
    scores = values + steps * columns * 4
    score_stride = (max(padded(tokens, 16), wide, steps) + 16) * 4
    result = padded(scores + MOST * score_stride, 64)
    inverses = result + MOST * columns * 4
    records = padded(inverses + MOST * 4, 64)
    nothing = records + (key_panels + value_panels) * RECORD
    describe_nothing(nothing, scores)
    down_keys, down_values = run_of(lanes) if of_tiles else lanes, run_of(steps) if of_tiles else steps
    for panel in range(key_panels):
        describe_panel(records + panel * RECORD, keys + panel * lanes * COLUMNS * 4, down_keys, 1)
    for panel in range(value_panels):
        describe_panel(records + (key_panels + panel) * RECORD, values + panel * steps * COLUMNS * 4, down_values, 1)
    pack_keys(qkv + width, stride, tokens, lanes, keys)
    if SHORT and short:
        zeros = f32_at(scores)
        for i in range(lanes):
            zeros[i] = np.float32(0)
        pack_pairs(qkv + 2 * width, stride, tokens, steps, head_dim, scores, values)
    else:
        pack_values(qkv + 2 * width, stride, tokens, steps, head_dim, values)
    scale = np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim)))))
    together = MOST if of_tiles else ROWS
    for token in range(begin, end, together):
        count = min(together, end - token)
        blocks = -(-count // ROWS)
        q = qkv + token * stride
        if of_tiles:
            configure(down_keys, blocks * ROWS // 2)
        for panel in range(key_panels):
            left, c = tokens - panel * COLUMNS, scores + panel * COLUMNS * 4
            product(short, left, blocks, q, stride, records + panel * RECORD, lanes, nothing, c, score_stride, 0)
        for r in range(blocks * ROWS):
            row, inverse = scores + r * score_stride, inverses + r * 4
            if SHORT and short:
                softmax_bf16(row, tokens, scale, inverse)
            else:
                softmax(row, tokens, scale, inverse)
        if of_tiles:
            configure(down_values, blocks * ROWS // 2)
        for panel in range(value_panels):
            record, c = records + (key_panels + panel) * RECORD, result + panel * COLUMNS * 4
            left = head_dim - panel * COLUMNS
            product(short, left, blocks, scores, score_stride, record, steps, nothing, c, columns * 4, inverses)
        for r in range(count):
            x, y = f32_at(result + r * columns * 4), f32_at(out + (token + r) * out_stride)
            for d in range(head_dim):
                y[d] = x[d]
    if of_tiles:
        release()


@kernel
def value(address, index, short):
    """Element of a row of float32 or, short, bfloat16."""
    if short:
        return from_bits(np.uint32(u16_at(address)[index]) << np.uint32(16))
    return f32_at(address)[index]


@kernel
def attend_first(q, qkv, stride, tokens, head_dim, short, out, scratch):
    """One head for one query q [head_dim] over all tokens of a picture -> out [head_dim], float32; all addresses."""
    scores = f32_at(scratch)
    width = head_dim * (2 if short else 4)
    for token in range(tokens):
        key = qkv + token * stride + width
        total = np.float32(0)
        for d in range(head_dim):
            total += value(q, d, short) * value(key, d, short)
        scores[token] = total
    inverse = scratch + padded(tokens, 16) * 4
    softmax(scratch, tokens, np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim))))), inverse)
    factor = f32_at(inverse)[0]
    z = f32_at(out)
    for d in range(head_dim):
        z[d] = np.float32(0)
    for token in range(tokens):
        of_token = qkv + token * stride + 2 * width
        share = scores[token] * factor
        for d in range(head_dim):
            z[d] += share * value(of_token, d, short)
