"""What a look takes over from the look before it.

t are all tokens of the look before, after its final LayerNorm, with p' channels each. p are the channels of this look.
W are stored matrices [p, p'].

    tokens   x += t W^T                                                 (ThinkingViT)
    grid     x[patches] += depthwise3x3(bilinear(t[patches])) Wpatches^T   (ProgResViT)
             x[class] += t[class] Wclass^T

The look before has computed the class token alone in its last block. finish() computes the other tokens, in a call of
its own, because it has the heads and the rows of the look before. So a look that is never needed costs nothing.

Sources: ThinkingViT, CVPR 2026; ProgResViT, arXiv 2609.03216.
"""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.attention import padded
from hydrart.engine.kernels.block import block, norm_rows
from hydrart.engine.kernels.gemm import ROWS, ZERO, gemm
from hydrart.engine.kernels.intrinsics import f32_at
from hydrart.engine.kernels.layers import choose_weights, row_bytes, set_input, set_output
from hydrart.engine.kernels.rows import copy
from hydrart.engine.kernels.state import QKV
from hydrart.engine.kernels.threads import barrier

NOTHING, ALL_TOKENS, GRID = 0, 1, 2  # the values of NETWORK's fusion


@register_jitable
def fusion_scratch_bytes(batch: int, p: int) -> int:
    """Bytes of a thread's scratch: inputs, outputs and converted inputs of the class tokens, and room to align them."""
    return padded(batch, ROWS) * 3 * row_bytes(p) + 128


@kernel
def finish(net, work):
    """y = t, from the residual stream x before the last block. `net` describes the look before."""
    block(net, work, net.depth - 1)
    norm_rows(net, work, 2 * net.depth)


@kernel
def fuse(net, work):
    """Add what the look before gives to the embedded tokens x. Its t are in y."""
    if net.fusion == NOTHING:
        return
    if net.fusion == ALL_TOKENS:
        add_product(net, work, net.fusion_patches, net.y)
    else:
        enlarge(net, work)
        barrier(net.sync, net.threads)
        filter_grid(net, work)
        add_product(net, work, net.fusion_patches, net.hidden)
        fuse_class_tokens(net, work)
    barrier(net.sync, net.threads)  # the first block writes to y


@kernel
def add_product(net, work, matrix, source):
    """x += source W^T, for the own rows. source: rows of p' channels."""
    product, n = work.product, net.before_k * net.head_dim
    choose_weights(product, matrix, ZERO, net.k, ZERO + QKV, ZERO)
    set_input(net, product, source, row_bytes(n), n, work.first_row, work.end_row)
    set_output(product, net.x, row_bytes(net.k * net.head_dim))
    product.first_row = work.first_row
    product.strips = (work.end_row - work.first_row) // ROWS
    gemm(net, product)


@kernel
def grid_rows(net):
    """The address of the enlarged grid. The first block does not use this half of qkv."""
    return net.qkv + net.qkv_bytes


@kernel
def enlarge(net, work):
    """grid = bilinear(t[patches]), in the own rows. The rows of class tokens stay as they are."""
    n = net.before_k * net.head_dim
    stride, side, old = row_bytes(n), net.image_size // net.patch, net.before_side
    old_tokens = old * old + 1
    for row in range(work.first_row, min(work.end_row, net.batch * net.tokens)):
        picture, token = row // net.tokens, row % net.tokens
        if token == 0:
            continue
        down, right = (token - 1) // side, (token - 1) % side
        top, below, y = neighbours(down, side, old)
        left, beside, x = neighbours(right, side, old)
        first = net.y + (picture * old_tokens + 1) * stride  # the first patch of the picture
        mix(
            grid_rows(net) + row * stride,
            first + (top * old + left) * stride,
            first + (top * old + beside) * stride,
            (np.float32(1) - y) * (np.float32(1) - x),
            (np.float32(1) - y) * x,
            n,
            False,
        )
        mix(
            grid_rows(net) + row * stride,
            first + (below * old + left) * stride,
            first + (below * old + beside) * stride,
            y * (np.float32(1) - x),
            y * x,
            n,
            True,
        )


@kernel
def neighbours(place, side, old):
    """The two old places beside a place of the new side, and the weight of the second. The border goes on outside."""
    at = max((place + 0.5) * old / side - 0.5, 0.0)
    first = int(at)
    return first, min(first + 1, old - 1), np.float32(at - first)


@kernel
def mix(target, a, b, of_a, of_b, n, add):
    """target = of_a a + of_b b, or target += that."""
    y, first, second = f32_at(target), f32_at(a), f32_at(b)
    for i in range(n):
        y[i] = (y[i] if add else np.float32(0)) + of_a * first[i] + of_b * second[i]


@kernel
def filter_grid(net, work):
    """hidden = depthwise3x3(grid), in the own rows, with zeros beyond the border. It is 0 for class tokens."""
    n = net.before_k * net.head_dim
    stride, side = row_bytes(n), net.image_size // net.patch
    for row in range(work.first_row, min(work.end_row, net.batch * net.tokens)):
        token, target = row % net.tokens, net.hidden + row * stride
        values = f32_at(target)
        for i in range(n):
            values[i] = np.float32(0)
        if token == 0:
            continue
        down, right = (token - 1) // side, (token - 1) % side
        for i in range(max(down - 1, 0), min(down + 2, side)):
            for j in range(max(right - 1, 0), min(right + 2, side)):
                source = grid_rows(net) + (row + (i - down) * side + j - right) * stride
                tap = (i - down + 1) * 3 + j - right + 1
                multiply_add(target, source, net.depthwise + tap * n * 4, n)


@kernel
def multiply_add(target, source, factors, n):
    """target += source * factors"""
    y, x, f = f32_at(target), f32_at(source), f32_at(factors)
    for i in range(n):
        y[i] += x[i] * f[i]


@kernel
def fuse_class_tokens(net, work):
    """x[class] += t[class] Wclass^T, for the class tokens among the own rows, which are gathered in the scratch."""
    first = -(-work.first_row // net.tokens)
    count = min(net.batch, -(-work.end_row // net.tokens)) - first
    if count <= 0:
        return
    product, p, n = work.product, net.k * net.head_dim, net.before_k * net.head_dim
    stride, input_bytes, rows = row_bytes(p), row_bytes(n), padded(count, ROWS)
    t = padded(work.scratch, 64)
    output = t + rows * input_bytes
    converted, converted_row_bytes = product.converted, product.converted_row_bytes
    product.converted, product.converted_row_bytes = output + rows * stride, input_bytes
    for i in range(count):
        before = (first + i) * (net.before_side * net.before_side + 1)
        copy(net.y + before * input_bytes, t + i * input_bytes, n)
        copy(net.x + (first + i) * net.tokens * stride, output + i * stride, p)
    choose_weights(product, net.fusion_class_token, ZERO, net.k, ZERO + QKV, ZERO)
    set_input(net, product, t, input_bytes, n, ZERO, count)
    set_output(product, output, stride)
    product.first_row = 0
    product.strips = rows // ROWS
    gemm(net, product)
    for i in range(count):
        copy(output + i * stride, net.x + (first + i) * net.tokens * stride, p)
    product.converted, product.converted_row_bytes = converted, converted_row_bytes
