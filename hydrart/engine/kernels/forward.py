"""The network, from pictures to logits: what every thread does in one call.

Rows, the tokens of all pictures, are split between threads in blocks of a register tile, so that only attention has
to wait for others; wide networks in bfloat16 on AMX are split by heads instead, see block(). After the attention of
the last block nothing but the class tokens is needed: there, threads split the outputs of each product.

Source: Haberer, Hojjat, Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

import numpy as np
from numba import from_dtype, types
from numba.extending import register_jitable

from hydrart.codegen.jit import compiled, kernel
from hydrart.engine.kernels import rows
from hydrart.engine.kernels.attention import attend, attend_first, padded
from hydrart.engine.kernels.gemm import BF16, COLUMNS, GROUP, INT8, LANES, ROWS, gemm, pack_bytes
from hydrart.engine.kernels.intrinsics import ISA, f32_at, fetch, fetch_add, futex_wake, i32_at, tile_sums
from hydrart.engine.kernels.rows import add, layer_norm
from hydrart.engine.kernels.state import MATRIX, NETWORK
from hydrart.engine.kernels.threads import CALL, END, IDLE, ONE, barrier, wait_while

# indices of MATRIX records; the four of each block follow each other, then the classifiers
FIRST = np.int64(0)  # output block; not a literal, for which Numba would compile another variant

PATCH, QKV, PROJ, FC1, FC2, PER_BLOCK = 0, 1, 2, 3, 4, 4
ALONE = np.int64(1)  # for barriers of no others
TILES = ISA.tiles
WIDE = 640  # channels from which threads take heads: below, they save less than each other's activations cost


@register_jitable
def row_bytes(n: int) -> int:
    """From row to row of float32: whole register tiles, and no multiple of 4 KB, which would share cache sets."""
    return padded(n, max(COLUMNS, 64)) * 4 + 64


@kernel
def qkv_row_bytes(net):
    """From row to row of q, k and v."""
    n = 3 * net.k * net.head_dim
    return row_bytes(n // 2) if net.short else row_bytes(n)


@kernel
def product_input(precision, source, stride, n, count, target, step, scales):
    """`count` rows of n float32 as the input of a product with weights of this precision.

    Returns the address of the first, bytes from row to row, and the address of their scales, 0 where there are none.
    target, step: where they may be converted to, and bytes from row to row there.
    """
    if precision == INT8:
        size = rows.INT8_BYTES
    elif precision == BF16:
        size = rows.BF16_BYTES
    else:
        size = rows.FP32_BYTES
    if size == rows.FP32_BYTES:
        return source, stride, 0
    for row in range(count):
        if precision == INT8:
            rows.int8_from_row(source + row * stride, target + row * step, n, scales + row * 8)
        else:
            rows.bf16_from_row(source + row * stride, target + row * step, n, 0)
    return target, step, scales if precision == INT8 else 0


@kernel
def converted_bytes(net):
    """From row to row of what is converted, the same for inputs of any width: a thread may be ahead of another."""
    return row_bytes(max(4 * net.k * net.head_dim, net.channels * net.patch * net.patch + net.head_dim))


@kernel
def norm(net, index, source, target):
    """LayerNorm number `index` of one row."""
    weight = net.norms + 2 * index * net.norm_stride * 4
    layer_norm(source, target, weight, weight + net.norm_stride * 4, net.k * net.head_dim, net.eps)


@kernel
def copy(source, target, n):
    x, y = f32_at(source), f32_at(target)
    for i in range(n):
        y[i] = x[i]


@kernel
def cut_patch(net, picture, patch, target, inputs):
    """One patch, [channels, patch, patch] in a row, with zeros up to `inputs`."""
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
def embed(net, tiles, w, following, begin, end, panels):
    """Patches of the rows begin to end, projected; the class token before them; positions."""
    p, inputs = net.k * net.head_dim, w.depth * net.head_dim
    ldx, ldh = row_bytes(p), row_bytes(inputs)
    x, hidden = net.x + begin * ldx, net.hidden + begin * ldh
    for row in range(begin, end):
        picture, token = row // net.tokens, row % net.tokens
        if token and picture < net.batch:
            cut_patch(net, picture, token - 1, net.hidden + row * ldh, inputs)
    step = converted_bytes(net)
    converted, scales = net.converted + begin * step, net.scales + begin * 8
    a, lda, scales = product_input(w.precision, hidden, ldh, inputs, end - begin, converted, step, scales)
    count = (end - begin) // ROWS
    gemm(tiles, w, following, net.head_dim, FIRST, net.k, FIRST, net.sums, a, lda, scales, count, x, ldx, panels)
    for row in range(begin, end):
        token = row % net.tokens
        if token == 0:
            copy(net.cls_token, net.x + row * ldx, p)
        for head in range(net.k):
            position = tiles[net.positions + head] + token * net.head_dim * 4
            add(net.x + row * ldx + head * net.head_dim * 4, position, net.head_dim)


@kernel
def attention(net, qkv, ldq, ldy, begin, end, first, after, scratch):
    """The heads first to after for the rows begin to end."""
    for picture in range(begin // net.tokens, min(net.batch, -(-end // net.tokens))):
        token = picture * net.tokens
        low, high = max(begin - token, 0), min(end - token, net.tokens)
        for head in range(first, after):
            q = qkv + token * ldq + head * 3 * net.head_dim * (2 if net.short else 4)
            out = net.y + token * ldy + head * net.head_dim * 4
            attend(q, ldq, net.tokens, net.head_dim, net.short, low, high, out, ldy, scratch)


@kernel
def by_heads(net, precision):
    """Whether threads take heads instead of rows, see block(): measured, only in bfloat16 it is faster."""
    wide = net.k * net.head_dim >= WIDE and net.k % net.threads == 0
    return TILES and precision == BF16 and net.threads > 1 and wide


@kernel
def block(net, tiles, matrices, index, thread, begin, end, panels, scratch):
    """One transformer block for the rows begin to end; of the last one only what others need of these rows.

    Where products are so fast that fetching the weights takes much of their time, every thread instead takes a part of
    the heads, and of the outputs of each product, for all rows: it fetches only these. Then the rows of what goes
    into a product come from all threads, and each waits for the others before and after.
    """
    k, head_dim, p, threads = net.k, net.head_dim, net.k * net.head_dim, net.threads
    m = index * PER_BLOCK
    qkv_w, proj, fc1, fc2 = matrices[m + QKV], matrices[m + PROJ], matrices[m + FC1], matrices[m + FC2]
    following = matrices[m + PER_BLOCK + QKV]  # of the last block: the classifier
    precision, rows_here = qkv_w.precision, end - begin
    ldx, ldq, ldh, step = row_bytes(p), qkv_row_bytes(net), row_bytes(4 * p), converted_bytes(net)
    element = 2 if net.short else 4
    own_x, own_y, own_hidden = net.x + begin * ldx, net.y + begin * ldx, net.hidden + begin * ldh
    converted, scales = net.converted + begin * step, net.scales + begin * 8
    # what products are made for: rows low to high, heads first to after
    low, high, first, after, meeting, crossing = begin, end, FIRST, k, ALONE, threads
    if by_heads(net, precision):
        low, high = FIRST, -(-net.batch * net.tokens // ROWS) * ROWS
        first, after = k * thread // threads, k * (thread + 1) // threads
        meeting, crossing = threads, ALONE
    count, before = (high - low) // ROWS, low - begin  # where products begin, from the first own row on
    x, hidden = net.x + low * ldx + first * head_dim * 4, net.hidden + low * ldh + 4 * first * head_dim * 4
    qkv = net.qkv + index % 2 * net.qkv_bytes

    for row in range(rows_here):
        norm(net, 2 * index, own_x + row * ldx, own_y + row * ldx)
    a, lda, scale = product_input(precision, own_y, ldx, p, rows_here, converted, step, scales)
    a += before * lda
    barrier(net.sync, meeting)
    c = qkv + low * ldq
    last = index == net.depth - 1
    if last and 2 * head_dim >= GROUP:  # no queries
        for head in range(first, after):
            key = 3 * head + 1
            to = c + key * head_dim * element
            gemm(tiles, qkv_w, qkv_w, head_dim, key, key + 2, key + 3, net.sums, a, lda, scale, count, to, ldq, panels)
    else:
        to = c + 3 * first * head_dim * element
        gemm(tiles, qkv_w, proj, head_dim, 3 * first, 3 * after, first, net.sums, a, lda, scale, count, to, ldq, panels)
    if last:
        barrier(net.sync, threads)
        return
    barrier(net.sync, crossing)
    attention(net, qkv, ldq, ldx, low, high, first, after, scratch)
    barrier(net.sync, meeting)
    a, lda, scale = product_input(precision, own_y, ldx, p, rows_here, converted, step, scales)
    a += before * lda
    barrier(net.sync, meeting)
    gemm(tiles, proj, fc1, head_dim, first, after, 4 * first, net.sums, a, lda, scale, count, x, ldx, panels)
    barrier(net.sync, meeting)
    for row in range(rows_here):
        norm(net, 2 * index + 1, own_x + row * ldx, own_y + row * ldx)
    a, lda, scale = product_input(precision, own_y, ldx, p, rows_here, converted, step, scales)
    a += before * lda
    barrier(net.sync, meeting)
    gemm(tiles, fc1, fc2, head_dim, 4 * first, 4 * after, first, net.sums, a, lda, scale, count, hidden, ldh, panels)
    barrier(net.sync, meeting)
    a, lda, scale = product_input(precision, own_hidden, ldh, 4 * p, rows_here, converted, step, scales)
    a += before * lda
    barrier(net.sync, meeting)
    gemm(tiles, fc2, following, head_dim, first, after, 3 * first, net.sums, a, lda, scale, count, x, ldx, panels)
    barrier(net.sync, meeting)


@kernel
def share(blocks, head_dim, thread, threads):
    """The output blocks of one thread: whole groups, since products write whole register tiles."""
    unit = GROUP // head_dim
    groups = -(-blocks // unit)
    return min(blocks, groups * thread // threads * unit), min(blocks, groups * (thread + 1) // threads * unit)


@kernel
def finish(net, tiles, matrices, thread, panels, scratch):
    """The class tokens, from the attention of the last block to logits. Every thread makes all rows' inputs itself."""
    k, head_dim, p, batch, threads = net.k, net.head_dim, net.k * net.head_dim, net.batch, net.threads
    index = net.depth - 1
    m = index * PER_BLOCK
    qkv_w, proj, fc1, fc2 = matrices[m + QKV], matrices[m + PROJ], matrices[m + FC1], matrices[m + FC2]
    classifier = matrices[net.classifier]
    precision, count = qkv_w.precision, -(-batch // ROWS)
    ldx, ldq, ldh, ldf = row_bytes(p), qkv_row_bytes(net), row_bytes(4 * p), row_bytes(head_dim)
    element = 2 if net.short else 4
    qkv = net.qkv + index % 2 * net.qkv_bytes
    # of this thread
    y = padded(scratch, 64)
    q = y + count * ROWS * ldx
    converted = q + count * ROWS * ldf
    scales = converted + count * ROWS * ldh
    scores = scales + padded(count * ROWS * 8, 64)

    for row in range(batch):
        norm(net, 2 * index, net.x + row * net.tokens * ldx, y + row * ldx)
    a, lda, scale = product_input(precision, y, ldx, p, batch, converted, ldh, scales)
    for head in range(thread, k, threads):
        own = 3 * head
        gemm(tiles, qkv_w, proj, head_dim, own, own + 1, FIRST, net.sums, a, lda, scale, count, q, ldf, panels)
        for row in range(batch):
            to = net.last_y + row * ldx + head * head_dim * 4
            keys = qkv + row * net.tokens * ldq + head * 3 * head_dim * element
            attend_first(q + row * ldf, keys, ldq, net.tokens, head_dim, net.short, to, scores)
    if thread == 0:
        for row in range(batch):
            copy(net.x + row * net.tokens * ldx, net.last_x + row * ldx, p)
    barrier(net.sync, threads)
    a, lda, scale = product_input(precision, net.last_y, ldx, p, batch, converted, ldh, scales)
    begin, end = share(k, head_dim, thread, threads)
    c = net.last_x + begin * head_dim * 4
    gemm(tiles, proj, fc1, head_dim, begin, end, FIRST, net.sums, a, lda, scale, count, c, ldx, panels)
    barrier(net.sync, threads)
    for row in range(batch):
        norm(net, 2 * index + 1, net.last_x + row * ldx, y + row * ldx)
    a, lda, scale = product_input(precision, y, ldx, p, batch, converted, ldh, scales)
    begin, end = share(4 * k, head_dim, thread, threads)
    c = net.last_hidden + begin * head_dim * 4
    gemm(tiles, fc1, fc2, head_dim, begin, end, FIRST, net.sums, a, lda, scale, count, c, ldh, panels)
    barrier(net.sync, threads)
    a, lda, scale = product_input(precision, net.last_hidden, ldh, 4 * p, batch, converted, ldh, scales)
    begin, end = share(k, head_dim, thread, threads)
    c = net.last_x + begin * head_dim * 4
    gemm(tiles, fc2, classifier, head_dim, begin, end, FIRST, net.sums, a, lda, scale, count, c, ldx, panels)
    barrier(net.sync, threads)
    for row in range(batch):
        norm(net, 2 * net.depth, net.last_x + row * ldx, y + row * ldx)
        if thread == 0:
            copy(y + row * ldx, net.features + row * p * 4, p)
    if net.logits:
        a, lda, scale = product_input(classifier.precision, y, ldx, p, batch, converted, ldh, scales)
        begin, end = share(-(-net.classes // head_dim), head_dim, thread, threads)
        c, ldc = net.logits + begin * head_dim * 4, net.logits_bytes
        patch = matrices[PATCH]
        gemm(tiles, classifier, patch, head_dim, begin, end, FIRST, net.sums, a, lda, scale, count, c, ldc, panels)


@kernel
def fill_sums(net, tiles, matrices, scratch):
    """The column sums of all INT8 matrices, which depend on k. scratch: int32 [head_dim]."""
    head_dim, counted = net.head_dim, i32_at(scratch)
    for m in range(1, 1 + PER_BLOCK * net.depth):
        w = matrices[m]
        if w.precision != INT8:
            continue
        kind = (m - 1) % PER_BLOCK + 1
        outs = 3 * net.k if kind == QKV else 4 * net.k if kind == FC1 else net.k
        for out in range(outs):
            for d in range(head_dim):
                counted[d] = 0
            for inner in range(w.depth):
                tile = tiles[w.first + out * w.stride + inner]
                for d in range(0, head_dim, LANES):
                    tile_sums(tile + d * 4, head_dim * 4, w.rows, scratch + d * 4)
            sums = f32_at(net.sums + (w.sums + out * head_dim) * 4)
            for d in range(head_dim):
                sums[d] = np.float32(counted[d])


@kernel
def forward(net, tiles, matrices, thread):
    """One thread's part of the call that `net` describes."""
    panels = padded(net.scratch + thread * net.scratch_bytes, 64)
    scratch = padded(panels + pack_bytes(net.most_blocks), 64)
    blocks = -(-net.batch * net.tokens // ROWS)
    begin, end = blocks * thread // net.threads * ROWS, blocks * (thread + 1) // net.threads * ROWS
    embed(net, tiles, matrices[PATCH], matrices[QKV], begin, end, panels)
    for index in range(net.depth):
        block(net, tiles, matrices, index, thread, begin, end, panels, scratch)
    finish(net, tiles, matrices, thread, panels, scratch)
    barrier(net.sync, net.threads)


@compiled(
    types.void(
        from_dtype(NETWORK)[::1], from_dtype(MATRIX)[::1], types.int64[::1], types.int64, types.int64, types.int64
    )
)
def run(network, matrices, tiles, thread, k, batch):
    """The first thread makes one call; the others take part in calls until they are told to end.

    network, matrices: see state.py. tiles: addresses of tiles, then of positions. thread: -1 tells the others to end.
    k, batch: for the first thread.
    """
    net = network[0]
    if thread < 0:
        fetch_add(net.sync + END, ONE)
        fetch_add(net.sync + CALL, ONE)
        futex_wake(net.sync + CALL)
        return
    if thread == 0:
        net.k, net.batch = k, batch
        if net.fill_sums:
            fill_sums(net, tiles, matrices, padded(net.scratch, 64))
        if net.threads > 1:
            fetch_add(net.sync + CALL, ONE)
            if fetch(net.sync + IDLE):
                futex_wake(net.sync + CALL)
        forward(net, tiles, matrices, thread)
        return
    seen = np.int32(0)
    while True:
        wait_while(net.sync + CALL, seen, net.sync + IDLE)
        seen = fetch(net.sync + CALL)
        if fetch(net.sync + END):
            return
        forward(net, tiles, matrices, thread)
