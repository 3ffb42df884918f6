"""Attention, softmax(q k^T / sqrt(head_dim)) v, a head at a time, in float32 or with products of bfloat16."""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen.jit import kernel
from hydrart.codegen.records import STORE
from hydrart.engine.kernels.gemm import (
    AHEAD_HEAD_BYTES,
    COLUMNS,
    LANES,
    MICROTILE_BYTES,
    ONE_STEP,
    ROWS,
    STRIPS,
    VECTORS,
    WEIGHTS_BYTES,
    describe_nothing,
    describe_panel,
    microtile_at,
    run_of,
)
from hydrart.engine.kernels.intrinsics import (
    ISA,
    bits,
    configure,
    f32_at,
    from_bits,
    microkernel_bf16,
    microkernel_fp32,
    pair_rows,
    release,
    softmax,
    softmax_bf16,
    transpose,
    u16_at,
)

BFLOAT16 = ISA.rounds_bf16
WEIGHTS_RECORD_BYTES = WEIGHTS_BYTES + VECTORS * 8  # bytes of one panel's WEIGHTS record
MOST_ROWS = ROWS * STRIPS  # most tokens at a time


@register_jitable
def padded(n: int, to: int) -> int:
    """n, rounded up to a multiple of `to`."""
    return -(-n // to) * to


@register_jitable
def attention_scratch_bytes(tokens: int, head_dim: int) -> int:
    """Bytes of scratch for attend().

    It holds panels of the keys and values of one head, scores and outputs of MOST_ROWS tokens, and records, with room
    to align them.
    """
    wide = padded(tokens, max(COLUMNS, 16))
    columns = padded(head_dim, COLUMNS)
    records = (wide // COLUMNS + columns // COLUMNS) * WEIGHTS_RECORD_BYTES + AHEAD_HEAD_BYTES + 8 + MICROTILE_BYTES
    return (wide * head_dim + wide * columns + MOST_ROWS * (wide + 17) + MOST_ROWS * columns) * 4 + records + 320


@kernel
def pack_keys(keys, row_bytes, tokens, lanes, panels):
    """Transpose keys [tokens][lanes] into panels [lanes][COLUMNS of tokens]."""
    for token in range(0, tokens, LANES):
        target = panels + (token // COLUMNS * lanes * COLUMNS + token % COLUMNS) * 4
        if token + LANES <= tokens:
            for d in range(0, lanes, LANES):
                transpose(keys + token * row_bytes + d * 4, row_bytes, target + d * COLUMNS * 4, COLUMNS * 4)
        else:
            x = f32_at(target)
            for d in range(lanes):
                for i in range(LANES):
                    x[d * COLUMNS + i] = np.float32(0)
            for i in range(tokens - token):
                y = f32_at(keys + (token + i) * row_bytes)
                for d in range(lanes):
                    x[d * COLUMNS + i] = y[d]


@kernel
def pack_values(values, row_bytes, tokens, steps, head_dim, panels):
    """Copy float32 values [tokens][head_dim] into panels [steps][COLUMNS of head_dim], with zeros after `tokens`."""
    for begin in range(0, head_dim, COLUMNS):
        width = min(COLUMNS, head_dim - begin)
        for token in range(steps):
            x = f32_at(panels + (begin * steps + token * COLUMNS) * 4)
            y = f32_at(values + token * row_bytes + begin * 4)
            if token < tokens:
                for i in range(width):
                    x[i] = y[i]
            else:
                for i in range(width):
                    x[i] = np.float32(0)


@kernel
def pack_pairs(values, row_bytes, tokens, steps, head_dim, zeros, panels):
    """Like pack_values(), for bfloat16, with two tokens in a step. zeros: the address of a row of zeros."""
    for begin in range(0, head_dim, COLUMNS):
        for step in range(steps):
            first = values + 2 * step * row_bytes if 2 * step < tokens else zeros
            second = values + (2 * step + 1) * row_bytes if 2 * step + 1 < tokens else zeros
            target = panels + (begin * steps + step * COLUMNS) * 4
            for column in range(0, min(COLUMNS, head_dim - begin), LANES):
                at = (begin + column) * 2
                pair_rows(first + at, second + at, target + column * 4)


@kernel
def multiply(microtile, bfloat16, columns):
    """Compute at most `columns` columns of a MICROTILE record."""
    microtile_at(microtile).vectors = min(VECTORS, -(-columns // LANES))
    if BFLOAT16 and bfloat16:
        microkernel_bf16(microtile)
    else:
        microkernel_fp32(microtile)


@kernel
def attend(head):
    """Attention of one head in one picture, for some of its tokens. head: an ATTENTION record.

    Rows of qkv after the last token, up to a whole strip, may be read but have no effect.
    """
    tokens, head_dim, bfloat16, row_bytes = head.tokens, head.head_dim, head.bfloat16, head.qkv_row_bytes
    lane_values = 2 if bfloat16 else 1
    width = head_dim * 4 // lane_values  # bytes of q, of k and of v in a row
    lanes = head_dim // lane_values
    on_amx = bfloat16 and STRIPS > 1
    steps = padded(-(-tokens // lane_values), 8 if on_amx else 4)  # steps of the product with the values
    key_panels, value_panels = -(-tokens // COLUMNS), -(-head_dim // COLUMNS)
    wide, columns = key_panels * COLUMNS, value_panels * COLUMNS
    # the parts of the scratch
    keys = padded(head.scratch, 64)
    values = keys + wide * lanes * 4
    scores = values + steps * columns * 4
    score_bytes = (max(padded(tokens, 16), wide, steps) + 16) * 4  # bytes from row to row
    result = padded(scores + MOST_ROWS * score_bytes, 64)
    inverses = result + MOST_ROWS * columns * 4
    key_records = padded(inverses + MOST_ROWS * 4, 64)
    value_records = key_records + key_panels * WEIGHTS_RECORD_BYTES
    nothing = value_records + value_panels * WEIGHTS_RECORD_BYTES
    at = nothing + AHEAD_HEAD_BYTES + 8

    describe_nothing(nothing, scores)
    down_keys, down_values = run_of(lanes) if on_amx else lanes, run_of(steps) if on_amx else steps
    for panel in range(key_panels):
        describe_panel(
            key_records + panel * WEIGHTS_RECORD_BYTES, keys + panel * lanes * COLUMNS * 4, down_keys, ONE_STEP
        )
    for panel in range(value_panels):
        record = value_records + panel * WEIGHTS_RECORD_BYTES
        describe_panel(record, values + panel * steps * COLUMNS * 4, down_values, ONE_STEP)
    pack_keys(head.qkv + width, row_bytes, tokens, lanes, keys)
    if BFLOAT16 and bfloat16:
        zeros = f32_at(scores)
        for i in range(lanes):
            zeros[i] = np.float32(0)
        pack_pairs(head.qkv + 2 * width, row_bytes, tokens, steps, head_dim, scores, values)
    else:
        pack_values(head.qkv + 2 * width, row_bytes, tokens, steps, head_dim, values)

    scale = np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim)))))
    microtile = microtile_at(at)
    microtile.ahead = nothing
    microtile.ahead_bytes = 0
    microtile.mode = STORE
    microtile.gamma = 0
    microtile.column_scales = 0
    microtile.column_sums = 0
    together = MOST_ROWS if on_amx else ROWS
    for token in range(head.first_token, head.end_token, together):
        count = min(together, head.end_token - token)
        microtile.strips = -(-count // ROWS)
        rows = microtile.strips * ROWS
        # scores = q k^T, plus log(size) sqrt(head_dim) where tokens are merged
        microtile.input = head.qkv + token * row_bytes
        microtile.input_row_bytes = row_bytes
        microtile.steps = lanes
        microtile.output_row_bytes = score_bytes
        microtile.row_scales = 0
        if on_amx:
            configure(down_keys, rows // 2)
        for panel in range(key_panels):
            microtile.weights = key_records + panel * WEIGHTS_RECORD_BYTES
            microtile.output = scores + panel * COLUMNS * 4
            microtile.bias = head.key_bias + panel * COLUMNS * 4 if head.key_bias else 0
            multiply(at, bfloat16, tokens - panel * COLUMNS)
        # softmax(scores / sqrt(head_dim)), without the division by the sums
        for r in range(rows):
            row, inverse = scores + r * score_bytes, inverses + r * 4
            if BFLOAT16 and bfloat16:
                softmax_bf16(row, tokens, scale, inverse)
            else:
                softmax(row, tokens, scale, inverse)
        # result = softmax(scores) v, and the division by the sums
        microtile.input = scores
        microtile.input_row_bytes = score_bytes
        microtile.steps = steps
        microtile.bias = 0
        microtile.output_row_bytes = columns * 4
        microtile.row_scales = inverses
        if on_amx:
            configure(down_values, rows // 2)
        for panel in range(value_panels):
            microtile.weights = value_records + panel * WEIGHTS_RECORD_BYTES
            microtile.output = result + panel * COLUMNS * 4
            multiply(at, bfloat16, head_dim - panel * COLUMNS)
        for r in range(count):
            x, y = f32_at(result + r * columns * 4), f32_at(head.output + (token + r) * head.output_row_bytes)
            for d in range(head_dim):
                y[d] = x[d]
    if on_amx:
        release()


@kernel
def value(address, index, bfloat16):
    """An element of a row of bfloat16 if `bfloat16`, else of float32."""
    if bfloat16:
        return from_bits(np.uint32(u16_at(address)[index]) << np.uint32(16))
    return f32_at(address)[index]


@kernel
def attend_first(head, query):
    """Attention of one query [head_dim] to all tokens, for one head in one picture, in float32.

    head: an ATTENTION record, whose output is that of this query. query: its address, in the type of qkv.
    """
    tokens, head_dim, bfloat16, row_bytes = head.tokens, head.head_dim, head.bfloat16, head.qkv_row_bytes
    scores = f32_at(head.scratch)
    width = head_dim * (2 if bfloat16 else 4)  # bytes of q, of k and of v in a row
    for token in range(tokens):
        key = head.qkv + token * row_bytes + width
        total = np.float32(0)
        for d in range(head_dim):
            total += value(query, d, bfloat16) * value(key, d, bfloat16)
        scores[token] = total
    if head.key_bias:
        for token in range(tokens):
            scores[token] += f32_at(head.key_bias)[token]
    inverse = head.scratch + padded(tokens, 16) * 4
    softmax(head.scratch, tokens, np.int64(bits(np.float32(1 / np.sqrt(np.float64(head_dim))))), inverse)
    factor = f32_at(inverse)[0]
    z = f32_at(head.output)
    for d in range(head_dim):
        z[d] = np.float32(0)
    for token in range(tokens):
        of_token = head.qkv + token * row_bytes + 2 * width
        share = scores[token] * factor
        for d in range(head_dim):
            z[d] += share * value(of_token, d, bfloat16)
