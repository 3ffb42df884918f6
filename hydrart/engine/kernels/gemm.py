"""Matrix products over tiles that lie in the mapped weight file.

Outputs are taken in groups of 64, inputs in chunks. The tiles of a group and chunk are unpacked into panels of the
register tile's width, converted where the CPU has no arithmetic for their type; all rows then pass by, while the
next tiles are fetched from memory.
"""

import numpy as np

from hydrart.engine.kernels.emit import EXPAND
from hydrart.engine.kernels.intrinsics import (
    ISA,
    column_sums,
    f32_at,
    gelu,
    gemm_bf16,
    gemm_fp32,
    gemm_int8,
    narrow_bf16,
    narrow_fp32,
    narrow_int8,
    unpack_bf16,
    unpack_fp32,
    unpack_int8,
)
from hydrart.jit import kernel

FP32, BF16, INT8 = 0, 1, 2  # precision of a matrix
ROWS, COLUMNS = ISA.rows, ISA.columns
GROUP = max(64, COLUMNS)  # outputs unpacked together: a multiple of every head_dim
# 32-bit lanes of inputs in a chunk at most: those of 200 rows, with the panels of two groups, fit into 512 KB of cache
STEPS = 256
PACK_BYTES = GROUP * STEPS * 4 + GROUP * 4  # panels, then the sums of their columns

BF16_EXPAND = EXPAND[ISA.conversion("bf16")]  # steps of a dot for each stored row of lanes
INT8_EXPAND = EXPAND[ISA.conversion("int8")]
INTEGER = ISA.int8 != "fma"  # int8 weights meet integers
LANES = ISA.lanes


@kernel
def unpack_tile(w, tile, head_dim, column, step, panels, panel_bytes):
    """A stored tile [w.rows][head_dim] of 32-bit lanes into panels [..., COLUMNS], from this column and step on."""
    stride, wide = head_dim * 4, head_dim >= COLUMNS
    for begin in range(0, head_dim, COLUMNS if wide else LANES):
        at = column + begin
        source, target = tile + begin * 4, panels + at // COLUMNS * panel_bytes + (step * COLUMNS + at % COLUMNS) * 4
        if w.precision == INT8:
            if wide:
                unpack_int8(source, stride, w.rows, target)
            else:
                narrow_int8(source, stride, w.rows, target)
        elif w.precision == BF16:
            if wide:
                unpack_bf16(source, stride, w.rows, target)
            else:
                narrow_bf16(source, stride, w.rows, target)
        elif wide:
            unpack_fp32(source, stride, w.rows, target)
        else:
            narrow_fp32(source, stride, w.rows, target)


@kernel
def clear_columns(panels, panel_bytes, begin, end, steps):
    """Zeros in the columns of the last panel that no tile fills."""
    for at in range(begin, end):
        x = f32_at(panels + at // COLUMNS * panel_bytes + at % COLUMNS * 4)
        for step in range(steps):
            x[step * COLUMNS] = np.float32(0)


@kernel
def unpack(tiles, w, head_dim, out, outs, inner, inners, panels, steps):
    """The tiles of `outs` output blocks and `inners` input blocks into panels of `steps` steps."""
    panel_bytes = steps * COLUMNS * 4
    for i in range(outs):
        for j in range(inners):
            tile = tiles[w.first + (out + i) * w.stride + inner + j]
            unpack_tile(w, tile, head_dim, i * head_dim, j * (steps // inners), panels, panel_bytes)
    if outs * head_dim % COLUMNS:
        clear_columns(panels, panel_bytes, outs * head_dim, -(-outs * head_dim // COLUMNS) * COLUMNS, steps)
    if INTEGER and w.precision == INT8:
        for panel in range(-(-outs * head_dim // COLUMNS)):
            column_sums(panels + panel * panel_bytes, steps, panels + GROUP * STEPS * 4 + panel * COLUMNS * 4)


@kernel
def gemm(tiles, w, following, head_dim, begin, end, depth, a, lda, row_scale, rows, c, ldc, panels):
    """C[rows, outputs] = A[rows, inputs] times a matrix, with its scale, bias and gamma.

    tiles: addresses of all tiles; w: the matrix, a MATRIX record; following: the one whose tiles are needed next.
    begin, end: its output blocks; depth: its input blocks. a, c: addresses, of the first input and the first output;
    lda, ldc in bytes; both have room for whole register tiles. row_scale: address of [rows][step, low], of integers.
    rows: blocks of ROWS. panels: scratch of PACK_BYTES.
    """
    per = head_dim
    if w.precision == INT8:
        per = head_dim * INT8_EXPAND // 4
    elif w.precision == BF16:
        per = head_dim * BF16_EXPAND // 2
    chunks = -(-depth * per // STEPS)
    chunk = -(-depth // chunks)
    group = GROUP // head_dim
    integer = INTEGER and w.precision == INT8
    for inner in range(0, depth, chunk):
        length = min(chunk, depth - inner)
        steps = length * per
        last = inner + length == depth
        for out in range(begin, end, group):
            count = min(group, end - out)
            width = count * head_dim
            column = (out - begin) * head_dim
            unpack(tiles, w, head_dim, out, count, inner, length, panels, steps)
            # the tiles of the next turn
            n_w, n_out, n_inner, n_length = w, out + group, inner, length
            if n_out >= end:
                n_out, n_inner, n_length = begin, inner + chunk, chunk
                if last:
                    n_w, n_out, n_inner = following, 0, 0
            n_tiles = group * n_length
            position = 0
            for block in range(rows):
                row = block * ROWS
                for panel in range(-(-width // COLUMNS)):
                    tile = position // n_w.tile_bytes
                    ahead = panels
                    if tile < n_tiles:
                        index = n_w.first + (n_out + tile // n_length) * n_w.stride + n_inner + tile % n_length
                        ahead = tiles[index] + position % n_w.tile_bytes
                    position += steps * 4
                    at = column + panel * COLUMNS
                    multiply(
                        w,
                        a + row * lda + inner * per * 4,
                        lda,
                        panels + panel * steps * COLUMNS * 4,
                        steps,
                        ahead,
                        c + row * ldc + at * 4,
                        ldc,
                        np.int64(w.add or inner > 0),
                        at + begin * head_dim,
                        inner == 0,
                        row_scale + row * 8 if integer else 0,
                        panels + GROUP * STEPS * 4 + panel * COLUMNS * 4 if integer else 0,
                    )
                if w.activate and last:
                    for r in range(ROWS):
                        gelu(c + (row + r) * ldc + column * 4, width)


@kernel
def multiply(w, a, lda, panel, steps, ahead, c, ldc, add, column, first, row_scale, sums):
    """One register tile: the dot for the precision of the weights."""
    bias = w.bias + column * 4 if first and w.bias else 0
    gamma = w.gamma + column * 4 if w.gamma else 0
    if w.precision == INT8:
        scale = w.scale + column * 4
        gemm_int8(a, lda, panel, steps, ahead, c, ldc, add, bias, gamma, row_scale, scale, sums)
    elif w.precision == BF16:
        gemm_bf16(a, lda, panel, steps, ahead, c, ldc, add, bias, gamma, 0, 0, 0)
    else:
        gemm_fp32(a, lda, panel, steps, ahead, c, ldc, add, bias, gamma, 0, 0, 0)
