"""Helpers of the network's steps: sizes of rows, LayerNorm, the inputs and outputs of a product."""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels import rows
from hydrart.engine.kernels.attention import padded
from hydrart.engine.kernels.gemm import BF16, COLUMNS, INT8, MATRIX_BYTES, ROW_SCALE_BYTES, ROWS, matrix_at
from hydrart.engine.kernels.rows import layer_norm


@register_jitable
def row_bytes(n: int) -> int:
    """Bytes from row to row of n float32: whole microtiles, and no multiple of 4 KB, whose rows share cache sets."""
    return padded(n, max(COLUMNS, 64)) * 4 + 64


@kernel
def qkv_row_bytes(net):
    """Bytes from row to row of q, k and v."""
    n = 3 * net.k * net.head_dim
    return row_bytes(n // 2) if net.bfloat16 else row_bytes(n)


@kernel
def converted_row_bytes(net):
    """Bytes from row to row of converted inputs. All widths have one size, because threads may be at other products."""
    return row_bytes(max(4 * net.k * net.head_dim, net.channels * net.patch * net.patch + net.head_dim))


@kernel
def divide_rows(net, work, tokens):
    """Give this thread its share of the strips, now that a picture has so many tokens."""
    strips = -(-net.batch * tokens // ROWS)
    work.tokens = tokens
    work.first_row = strips * work.thread // net.threads * ROWS
    work.end_row = strips * (work.thread + 1) // net.threads * ROWS


@kernel
def norm(net, index, source, target):
    """Put one row through LayerNorm number `index`: norm1 and norm2 of each block, then the final one."""
    weight = net.norms + 2 * index * net.norm_channels * 4
    layer_norm(source, target, weight, weight + net.norm_channels * 4, net.k * net.head_dim, net.eps)


@kernel
def choose_weights(product, matrix, first, end, next_matrix, next_first):
    """Set the weights of a product: output tiles first to end of a matrix. Also set where the next product begins."""
    product.matrix = matrix
    product.first_output_tile = first
    product.end_output_tile = end
    product.next_matrix = next_matrix
    product.next_output_tile = next_first


@kernel
def set_input(net, product, source, source_row_bytes, n, first_row, end_row):
    """Set the input of a product: rows of n float32 from the address `source` on, converted to the type of the dot.

    This call converts the rows first_row to end_row, if conversion is needed. Other threads may convert the others.
    """
    precision = matrix_at(net.matrices + product.matrix * MATRIX_BYTES).precision
    product.input = source
    product.input_row_bytes = source_row_bytes
    if precision == INT8:
        size = rows.INT8_BYTES
    elif precision == BF16:
        size = rows.BF16_BYTES
    else:
        size = rows.FP32_BYTES
    if size == rows.FP32_BYTES:
        return
    to_bytes = product.converted_row_bytes
    for row in range(first_row, end_row):
        x, y = source + row * source_row_bytes, product.converted + row * to_bytes
        if precision == INT8:
            rows.int8_from_row(x, y, n, product.converted_scales + row * ROW_SCALE_BYTES)
        else:
            rows.bf16_from_row(x, y, n, np.int64(0))
    product.input = product.converted
    product.input_row_bytes = to_bytes
    product.input_scales = product.converted_scales


@kernel
def set_output(product, output, output_row_bytes):
    """Set the output of a product. output: the address of row 0, at the first output tile."""
    product.output = output
    product.output_row_bytes = output_row_bytes
