"""The end of the network, from the last block's attention to the logits. Only the class tokens are needed there.

Threads share the outputs of each product. Each thread prepares the inputs of all class tokens in its own scratch.
"""

from numba.extending import register_jitable

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.attention import attend_first, padded
from hydrart.engine.kernels.block import feed, gate, norm_rows, share
from hydrart.engine.kernels.gemm import GROUP, MATRIX_BYTES, ROW_SCALE_BYTES, ROWS, ZERO, gemm, matrix_at
from hydrart.engine.kernels.layers import (
    choose_weights,
    norm,
    qkv_row_bytes,
    row_bytes,
    set_input,
    set_output,
)
from hydrart.engine.kernels.merging import key_bias_of
from hydrart.engine.kernels.rows import copy
from hydrart.engine.kernels.state import FC1, FC2, PATCH, PER_BLOCK, PROJ, QKV
from hydrart.engine.kernels.threads import barrier


@register_jitable
def class_token_scratch_bytes(batch: int, tokens: int, head_dim: int, p: int) -> int:
    """Bytes of a thread's scratch.

    It holds y, q, and converted inputs with scales of all class tokens, and the scores of one, with room to align them.
    """
    rows = padded(batch, ROWS)
    of_rows = rows * (row_bytes(p) + row_bytes(head_dim) + row_bytes(4 * p) + ROW_SCALE_BYTES)
    return of_rows + (padded(tokens, 16) + 1) * 4 + 192


@kernel
def keys_and_values(net, work, qkv):
    """Compute k and v of the own rows and heads in the last block. Only the class tokens need queries there."""
    index = net.depth - 1
    m, product = index * PER_BLOCK, work.product
    first, end = work.first_head, work.end_head
    head_bytes = net.head_dim * (2 if net.bfloat16 else 4)
    norm_rows(net, work, 2 * index)
    choose_weights(product, m + QKV, 3 * first, 3 * end, m + PROJ, first)
    feed(net, work, net.y, net.k * net.head_dim)
    if 2 * net.head_dim >= GROUP:
        for head in range(first, end):
            key = 3 * head + 1
            choose_weights(product, m + QKV, key, key + 2, m + QKV, key + 3)
            set_output(product, qkv + key * head_bytes, qkv_row_bytes(net))
            gemm(net, product)
    else:  # gemm computes whole groups of columns, which are wider than k and v of a head: compute q, too
        set_output(product, qkv + 3 * first * head_bytes, qkv_row_bytes(net))
        gemm(net, product)


@kernel
def attend_class_tokens(net, work, qkv, q):
    """softmax(q k^T / sqrt(head_dim)) v of the class tokens' queries into last_y; threads take heads in turn."""
    m, product, head = (net.depth - 1) * PER_BLOCK, work.product, work.attention
    head_bytes = 3 * net.head_dim * (2 if net.bfloat16 else 4)
    stride, q_bytes = row_bytes(net.k * net.head_dim), row_bytes(net.head_dim)
    head.qkv_row_bytes = qkv_row_bytes(net)
    head.tokens = work.tokens
    set_output(product, q, q_bytes)
    for index in range(work.thread, net.k, net.threads):
        choose_weights(product, m + QKV, 3 * index, 3 * index + 1, m + PROJ, ZERO)
        gemm(net, product)
        for picture in range(net.batch):
            head.qkv = qkv + picture * work.tokens * head.qkv_row_bytes + index * head_bytes
            head.key_bias = key_bias_of(net, work, picture)
            head.output = net.last_y + picture * stride + index * net.head_dim * 4
            attend_first(head, q + picture * q_bytes)


@kernel
def take_share(net, work, output_tiles):
    """Set this thread's share of the output tiles. Shares are whole groups: microtiles are not split."""
    product, unit = work.product, GROUP // net.head_dim
    groups = -(-output_tiles // unit)
    product.first_output_tile = min(output_tiles, groups * work.thread // net.threads * unit)
    product.end_output_tile = min(output_tiles, groups * (work.thread + 1) // net.threads * unit)


@kernel
def multiply_share(net, work, output_tiles, output, output_row_bytes):
    """The product with this thread's share of the output tiles."""
    product = work.product
    take_share(net, work, output_tiles)
    set_output(product, output + product.first_output_tile * net.head_dim * 4, output_row_bytes)
    gemm(net, product)


@kernel
def choose_shared(product, matrix, next_matrix):
    """Set the matrix of a product that multiply_share() computes, and the matrix of the product after it."""
    choose_weights(product, matrix, ZERO, ZERO, next_matrix, ZERO)


@kernel
def last_block(net, work):
    """The last block. k and v are of all rows. All other steps are of the class tokens, whose x becomes last_x."""
    k, batch, product, index = net.k, net.batch, work.product, net.depth - 1
    m, p = index * PER_BLOCK, k * net.head_dim
    stride, tokens_bytes = row_bytes(p), work.tokens * row_bytes(p)
    qkv = net.qkv + index % 2 * net.qkv_bytes
    share(net, work, matrix_at(net.matrices + (m + QKV) * MATRIX_BYTES).precision)

    # [k, v] = LN1(x) Wkv^T + b
    keys_and_values(net, work, qkv)
    barrier(net.sync, net.threads)

    # from here on the rows are the class tokens, and each thread converts them for itself
    rows = padded(batch, ROWS)
    y = padded(work.scratch, 64)
    q = y + rows * stride
    product.converted = q + rows * row_bytes(net.head_dim)
    product.converted_row_bytes = row_bytes(4 * p)
    product.converted_scales = product.converted + rows * product.converted_row_bytes
    work.attention.scratch = padded(product.converted_scales + rows * ROW_SCALE_BYTES, 64)
    product.first_row = 0
    product.strips = rows // ROWS

    # y = LN1(x)
    for row in range(batch):
        norm(net, 2 * index, net.x + row * tokens_bytes, y + row * stride)
    # q = y Wq^T + b; last_y = softmax(q k^T / sqrt(head_dim)) v, head by head
    choose_shared(product, m + QKV, m + PROJ)
    set_input(net, product, y, stride, p, ZERO, batch)
    attend_class_tokens(net, work, qkv, q)
    if work.thread == 0:
        for row in range(batch):
            copy(net.x + row * tokens_bytes, net.last_x + row * stride, p)
    barrier(net.sync, net.threads)
    # last_x += g1 (last_y Wproj^T + b)
    choose_shared(product, m + PROJ, m + FC1)
    set_input(net, product, net.last_y, stride, p, ZERO, batch)
    multiply_share(net, work, k, net.last_x, stride)
    barrier(net.sync, net.threads)
    # y = LN2(last_x)
    for row in range(batch):
        norm(net, 2 * index + 1, net.last_x + row * stride, y + row * stride)
    # last_hidden = GELU(y Wfc1^T + b)
    choose_shared(product, m + FC1, m + FC2)
    set_input(net, product, y, stride, p, ZERO, batch)
    multiply_share(net, work, 4 * k, net.last_hidden, row_bytes(4 * p))
    barrier(net.sync, net.threads)
    # last_x += g2 (last_hidden Wfc2^T + b), where each thread gates the channels that it adds to
    choose_shared(product, m + FC2, net.classifier)
    take_share(net, work, k)
    for row in range(batch):
        first, end = product.first_output_tile * net.head_dim, product.end_output_tile * net.head_dim
        gate(net, index, net.last_x + row * stride, first, end)
    set_input(net, product, net.last_hidden, row_bytes(4 * p), 4 * p, ZERO, batch)
    multiply_share(net, work, k, net.last_x, stride)
    barrier(net.sync, net.threads)


@kernel
def classify(net, work):
    """features = LN(class tokens); logits = features Whead^T + b."""
    product, p = work.product, net.k * net.head_dim
    stride, y = row_bytes(p), padded(work.scratch, 64)
    # y = LN(last_x)
    for row in range(net.batch):
        norm(net, 2 * net.depth, net.last_x + row * stride, y + row * stride)
        if work.thread == 0:
            copy(y + row * stride, net.features + row * p * 4, p)
    # logits = y Whead^T + b
    if net.logits:
        choose_shared(product, net.classifier, ZERO + PATCH)
        set_input(net, product, y, stride, p, ZERO, net.batch)
        multiply_share(net, work, -(-net.classes // net.head_dim), net.logits, net.logits_row_bytes)
