"""One block of the network, for the rows and heads of one thread.

In the formulas of the paper, p = k * head_dim. W is a stored matrix [outputs, inputs], cut to the outputs and inputs of
k heads. See also forward.py.
"""

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.attention import attend, padded
from hydrart.engine.kernels.gemm import BF16, MATRIX_BYTES, ROWS, gemm, matrix_at
from hydrart.engine.kernels.intrinsics import ISA, f32_at
from hydrart.engine.kernels.layers import choose_weights, norm, qkv_row_bytes, row_bytes, set_input, set_output
from hydrart.engine.kernels.merging import key_bias_of, merge
from hydrart.engine.kernels.state import FC1, FC2, PER_BLOCK, PROJ, QKV
from hydrart.engine.kernels.threads import barrier

AMX = ISA.amx
WIDE = 640  # least channels with which threads share heads: with fewer, reading others' activations costs too much


@kernel
def share(net, work, precision):
    """Set the rows and heads of this thread for the products and the attention of a block.

    By default a thread takes its own rows and all heads. On AMX, bfloat16 products are so fast that fetching the
    weights takes much of their time. There, a thread takes all rows, and a part of the heads and of each product's
    outputs. It fetches the weights of these outputs only. Each product then reads rows of all threads, which wait for
    each other before and after. This was measured to be faster only for bfloat16 on AMX.
    """
    wide = net.k * net.head_dim >= WIDE and net.k % net.threads == 0
    if AMX and precision == BF16 and net.threads > 1 and wide:
        work.first_product_row = 0
        work.end_product_row = padded(net.batch * work.tokens, ROWS)
        work.first_head = net.k * work.thread // net.threads
        work.end_head = net.k * (work.thread + 1) // net.threads
        work.row_threads = net.threads
        work.head_threads = 1
    else:
        work.first_product_row = work.first_row
        work.end_product_row = work.end_row
        work.first_head = 0
        work.end_head = net.k
        work.row_threads = 1
        work.head_threads = net.threads
    product = work.product
    product.first_row = work.first_product_row
    product.strips = (work.end_product_row - work.first_product_row) // ROWS


@kernel
def norm_rows(net, work, index):
    """y = LN(x) of the own rows, with LayerNorm number `index`."""
    stride = row_bytes(net.k * net.head_dim)
    for row in range(work.first_row, work.end_row):
        norm(net, index, net.x + row * stride, net.y + row * stride)


@kernel
def gate(net, index, row, first, end):
    """Multiply the channels first to end of a row of x by the gate of block `index`, if the network has gates."""
    if net.gates:
        x, gates = f32_at(row), f32_at(net.gates + index * net.k * net.head_dim * 4)
        for i in range(first, end):
            x[i] *= gates[i]


@kernel
def feed(net, work, source, n):
    """Set the input of the product, rows of n float32. Return when all threads have converted their rows."""
    set_input(net, work.product, source, row_bytes(n), n, work.first_row, work.end_row)
    barrier(net.sync, work.row_threads)


@kernel
def attention(net, work, qkv):
    """softmax(q k^T / sqrt(head_dim)) v of the own heads, for the own rows, into y."""
    head = work.attention
    stride = row_bytes(net.k * net.head_dim)
    head.qkv_row_bytes = qkv_row_bytes(net)
    head.output_row_bytes = stride
    head.tokens = work.tokens
    first, end = work.first_product_row, work.end_product_row
    for picture in range(first // work.tokens, min(net.batch, -(-end // work.tokens))):
        token = picture * work.tokens
        head.first_token = max(first - token, 0)
        head.end_token = min(end - token, work.tokens)
        head.key_bias = key_bias_of(net, work, picture)
        for index in range(work.first_head, work.end_head):
            element = 2 if net.bfloat16 else 4
            head.qkv = qkv + token * head.qkv_row_bytes + index * 3 * net.head_dim * element
            head.output = net.y + token * stride + index * net.head_dim * 4
            attend(head)


@kernel
def block(net, work, index):
    """Block number `index`: attention and MLP, each added to the residual stream x."""
    m, product = index * PER_BLOCK, work.product
    share(net, work, matrix_at(net.matrices + (m + QKV) * MATRIX_BYTES).precision)
    first, end = work.first_head, work.end_head
    p = net.k * net.head_dim
    column_bytes = first * net.head_dim * 4  # bytes to the first own output of p
    qkv = net.qkv + index % 2 * net.qkv_bytes

    # y = LN1(x)
    norm_rows(net, work, 2 * index)
    # [q, k, v] = y Wqkv^T + b, the three of each head side by side
    choose_weights(product, m + QKV, 3 * first, 3 * end, m + PROJ, first)
    feed(net, work, net.y, p)
    set_output(product, qkv + 3 * first * net.head_dim * (2 if net.bfloat16 else 4), qkv_row_bytes(net))
    gemm(net, product)
    barrier(net.sync, work.head_threads)
    # y = softmax(q k^T / sqrt(head_dim)) v of each head, side by side
    attention(net, work, qkv)
    barrier(net.sync, work.row_threads)
    # x += g1 (y Wproj^T + b)
    choose_weights(product, m + PROJ, first, end, m + FC1, 4 * first)
    feed(net, work, net.y, p)
    set_output(product, net.x + column_bytes, row_bytes(p))
    gemm(net, product)
    barrier(net.sync, work.row_threads)
    if net.merging:
        merge(net, work, index, qkv)
        share(net, work, matrix_at(net.matrices + (m + QKV) * MATRIX_BYTES).precision)
    # y = LN2(x)
    norm_rows(net, work, 2 * index + 1)
    for row in range(work.first_row, work.end_row):
        gate(net, index, net.x + row * row_bytes(p), 0, p)
    # hidden = GELU(y Wfc1^T + b), 4p wide
    choose_weights(product, m + FC1, 4 * first, 4 * end, m + FC2, first)
    feed(net, work, net.y, p)
    set_output(product, net.hidden + 4 * column_bytes, row_bytes(4 * p))
    gemm(net, product)
    barrier(net.sync, work.row_threads)
    # x += g2 (hidden Wfc2^T + b)
    choose_weights(product, m + FC2, first, end, m + PER_BLOCK + QKV, 3 * first)
    feed(net, work, net.hidden, 4 * p)
    set_output(product, net.x + column_bytes, row_bytes(p))
    gemm(net, product)
    barrier(net.sync, work.row_threads)
