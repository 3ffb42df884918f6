"""The network, from pictures to logits: the work of each thread in one call, in the order of the paper.

Rows are the tokens of all pictures. Threads take whole strips of them, so that only attention has to wait for other
threads. block.share() has another way. After the attention of the last block, only the class tokens are needed. There,
threads share the outputs of each product.

Each step has its formula of the paper beside it. n is the number of tokens, k of heads, h of channels of a head, and
p = k h. W is a stored matrix [outputs, inputs], cut to the outputs and inputs of k heads. Weights and biases of
LayerNorm (LN) are cut to p. The layer scale g is 1 in the paper's network.

A network of several looks makes this call for each look. From the second look on, a short call before it finishes the
tokens of the look before, and fuse() adds them to the embedded picture (fusion.py).

Source: Haberer, Hojjat, Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

import numpy as np
from numba import from_dtype, types

from hydrart.codegen.jit import compiled, kernel
from hydrart.engine.kernels.attention import padded
from hydrart.engine.kernels.block import block
from hydrart.engine.kernels.class_tokens import classify, last_block
from hydrart.engine.kernels.fusion import finish, fuse
from hydrart.engine.kernels.gemm import MATRIX_BYTES, ROWS, ZERO, fill_column_sums, gemm, matrix_at, pack_bytes
from hydrart.engine.kernels.intrinsics import f32_at, fetch, fetch_add, futex_wake, i64_at, monotonic_ns, record_at
from hydrart.engine.kernels.layers import (
    choose_weights,
    converted_row_bytes,
    divide_rows,
    row_bytes,
    set_input,
    set_output,
)
from hydrart.engine.kernels.rows import add, copy
from hydrart.engine.kernels.state import NETWORK, PATCH, QKV, WORK
from hydrart.engine.kernels.threads import CALL, END, IDLE, ONE, barrier, wait_while

WORK_BYTES = WORK.itemsize
work_at = record_at(WORK)


@kernel
def cut_patch(net, picture, patch, target, inputs):
    """Copy one patch [channels, patch, patch] to a row, with zeros up to `inputs`."""
    size, side, per_row = net.image_size, net.patch, net.image_size // net.patch
    corner = net.pictures + picture * net.channels * size * size * 4
    corner += (patch // per_row * side * size + patch % per_row * side) * 4
    for channel in range(net.channels):
        for i in range(side):
            copy(corner + (channel * size + i) * size * 4, target + (channel * side + i) * side * 4, side)
    y = f32_at(target)
    for i in range(net.channels * side * side, inputs):
        y[i] = np.float32(0)


@kernel
def embed(net, work):
    """x = [class token, patch_1 Wpatch^T + b, ..., patch_n Wpatch^T + b] + positions, for the rows of this thread."""
    product, head_dim, p = work.product, net.head_dim, net.k * net.head_dim
    inputs = matrix_at(net.matrices + PATCH * MATRIX_BYTES).input_tiles * head_dim
    x_bytes, patch_bytes = row_bytes(p), row_bytes(inputs)
    for row in range(work.first_row, work.end_row):
        picture, token = row // net.tokens, row % net.tokens
        if token and picture < net.batch:
            cut_patch(net, picture, token - 1, net.hidden + row * patch_bytes, inputs)
    # x = patch Wpatch^T + b
    choose_weights(product, ZERO + PATCH, ZERO, net.k, ZERO + QKV, ZERO)
    set_input(net, product, net.hidden, patch_bytes, inputs, work.first_row, work.end_row)
    set_output(product, net.x, x_bytes)
    product.first_row = work.first_row
    product.strips = (work.end_row - work.first_row) // ROWS
    gemm(net, product)
    # x += positions, where the class token has the first row of each picture
    for row in range(work.first_row, work.end_row):
        token = row % net.tokens
        if token == 0:
            copy(net.class_token, net.x + row * x_bytes, p)
        for head in range(net.k):
            position = i64_at(net.tiles)[net.positions + head] + token * net.position_bytes
            add(net.x + row * x_bytes + head * head_dim * 4, position, head_dim)


@kernel
def begin_work(net, thread):
    """Write the WORK record of a thread for the call that `net` describes. Returns its address."""
    at = padded(net.scratch + thread * net.thread_bytes, 64)
    work, panels = work_at(at), padded(at + WORK_BYTES, 64)
    work.thread = thread
    work.merges = 0
    divide_rows(net, work, net.tokens)
    work.scratch = padded(panels + pack_bytes(net.most_input_tiles), 64)
    product, attention = work.product, work.attention
    product.panels = panels
    product.converted = net.converted
    product.converted_row_bytes = converted_row_bytes(net)
    product.converted_scales = net.scales
    attention.bfloat16 = net.bfloat16
    attention.head_dim = net.head_dim
    attention.scratch = work.scratch
    return at


@kernel
def abandoned(net, work):
    """Whether the call ends before its next block, because it has to stop or its deadline is past.

    The first thread decides, and all threads get the same answer. The barriers inside a block keep that thread from
    deciding anew before all others have read its answer.
    """
    if net.stop == 0:
        return False
    if work.thread == 0 and (fetch(net.stop) != 0 or (net.deadline_ns != 0 and monotonic_ns() >= net.deadline_ns)):
        net.abandoned = 1
    barrier(net.sync, net.threads)
    return net.abandoned != 0


@kernel
def forward(net, thread):
    """Do one thread's part of the call that `net` describes."""
    work = work_at(begin_work(net, thread))
    if net.finishing:
        if not abandoned(net, work):
            finish(net, work)
        barrier(net.sync, net.threads)
        return
    embed(net, work)
    fuse(net, work)
    for index in range(net.depth):
        if abandoned(net, work):
            break
        if index < net.depth - 1:
            block(net, work, index)
        else:
            last_block(net, work)
            classify(net, work)
        if thread == 0:
            net.blocks_done = index + 1
    barrier(net.sync, net.threads)


@compiled(types.void(from_dtype(NETWORK)[::1], types.int64, types.int64, types.int64))
def run(network, thread, k, batch):
    """Make one call as the first thread, or take part in calls as another thread until the end.

    - network: one NETWORK record.
    - thread: the number of the thread; -1 ends the others.
    - k, batch: number of heads and pictures of the call, for the first thread.
    """
    net = network[0]
    if thread < 0:
        fetch_add(net.sync + END, ONE)
        fetch_add(net.sync + CALL, ONE)
        futex_wake(net.sync + CALL)
        return
    if thread == 0:
        net.k, net.batch, net.abandoned, net.blocks_done = k, batch, 0, 0
        if net.fill_sums:
            fill_column_sums(net, padded(net.scratch, 64))
        if net.threads > 1:
            fetch_add(net.sync + CALL, ONE)
            if fetch(net.sync + IDLE):
                futex_wake(net.sync + CALL)
        forward(net, thread)
        return
    seen = np.int32(0)
    while True:
        wait_while(net.sync + CALL, seen, net.sync + IDLE)
        seen = fetch(net.sync + CALL)
        if fetch(net.sync + END):
            return
        forward(net, thread)
