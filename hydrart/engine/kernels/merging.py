"""Merge the most similar tokens of each picture after the attention of a block. The steps after it have fewer rows.

The even tokens of a picture, 0, 2, 4 and so on, are matched with its odd tokens. Each even token but the class token
has one partner: the odd token whose keys are most like its own. The r even tokens that are most like their partners are
merged into them. Then the even tokens that are left come first, and the odd ones follow.

A picture's tokens are merged by that picture alone, in one order, whatever the batch and the number of threads.

Source: Bolya, Fu, Dai, Zhang, Feichtenhofer, Hoffman, "Token Merging: Your ViT But Faster", ICLR 2023.
"""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen.jit import kernel
from hydrart.codegen.records import STORE
from hydrart.engine.kernels.attention import WEIGHTS_RECORD_BYTES, multiply, pack_keys, padded, value
from hydrart.engine.kernels.gemm import (
    AHEAD_HEAD_BYTES,
    COLUMNS,
    MICROTILE_BYTES,
    ONE_STEP,
    ROWS,
    ZERO,
    describe_nothing,
    describe_panel,
    microtile_at,
)
from hydrart.engine.kernels.intrinsics import f32_at, i32_at, i64_at, record_at
from hydrart.engine.kernels.layers import divide_rows, qkv_row_bytes, row_bytes
from hydrart.engine.kernels.rows import add_scaled, copy, scale
from hydrart.engine.kernels.state import MERGING
from hydrart.engine.kernels.threads import barrier

merging_at = record_at(MERGING)

UNKNOWN = np.float32(-2)  # below every cosine: a token whose similarities are all NaN
MERGED = np.float32(-4)  # marks an even token that is merged


@register_jitable
def metric_row_bytes(head_dim: int) -> int:
    """Bytes from one token's metric to the next."""
    return head_dim * 4


@register_jitable
def key_bias_bytes(tokens: int) -> int:
    """Bytes from one picture's biases of keys to the next. Microtiles read whole panels."""
    return padded(tokens, max(COLUMNS, 16)) * 4


@register_jitable
def merging_scratch_bytes(tokens: int, head_dim: int) -> int:
    """Bytes of a thread's scratch.

    It holds panels of the odd tokens, similarities of one strip of even tokens, the best match of each even token, and
    records, with room to align them.
    """
    wide = padded(tokens, COLUMNS)
    records = wide // COLUMNS * WEIGHTS_RECORD_BYTES + AHEAD_HEAD_BYTES + 8 + MICROTILE_BYTES
    return (wide * head_dim + ROWS * wide + 2 * padded(tokens, 16)) * 4 + records + 320


@kernel
def measure(net, work, merging, qkv):
    """metric = the mean of a token's keys over the heads, divided by its length, for the own rows.

    The sum is as good as the mean, because the length is divided out.
    """
    head_dim, bfloat16, stride = net.head_dim, net.bfloat16, qkv_row_bytes(net)
    width = head_dim * (2 if bfloat16 else 4)  # bytes of q, of k and of v in a row
    for row in range(work.first_row, min(work.end_row, net.batch * work.tokens)):
        metric = f32_at(merging.metric + row * metric_row_bytes(head_dim))
        for d in range(head_dim):
            metric[d] = np.float32(0)
        for head in range(net.k):
            key = qkv + row * stride + (3 * head + 1) * width
            for d in range(head_dim):
                metric[d] += value(key, d, bfloat16)
        total = np.float32(0)
        for d in range(head_dim):
            total += metric[d] * metric[d]
        factor = np.float32(1) / np.sqrt(total) if total > np.float32(0) else np.float32(0)
        for d in range(head_dim):
            metric[d] *= factor


@kernel
def match(net, work, merging, picture, best, partner):
    """The partner of each even token of a picture, and how similar they are.

    best: the address of the cosines, float32 [even tokens]. partner: that of the numbers of the partners among the odd
    tokens, int32 [even tokens]. Of equally similar partners the first counts.
    """
    head_dim, tokens, metric_bytes = net.head_dim, work.tokens, metric_row_bytes(net.head_dim)
    evens, odds = (tokens + 1) // 2, tokens // 2
    panels = -(-odds // COLUMNS)
    # the parts of the scratch
    keys = padded(partner + padded(evens, 16) * 4, 64)
    similarities = keys + panels * COLUMNS * head_dim * 4
    similarity_bytes = panels * COLUMNS * 4
    records = similarities + ROWS * similarity_bytes
    nothing = records + panels * WEIGHTS_RECORD_BYTES
    at = nothing + AHEAD_HEAD_BYTES + 8

    metric = merging.metric + picture * tokens * metric_bytes
    pack_keys(metric + metric_bytes, 2 * metric_bytes, odds, head_dim, keys)
    describe_nothing(nothing, similarities)
    for panel in range(panels):
        target = keys + panel * head_dim * COLUMNS * 4
        describe_panel(records + panel * WEIGHTS_RECORD_BYTES, target, head_dim, ONE_STEP)
    microtile = microtile_at(at)
    microtile.strips = 1
    microtile.input_row_bytes = 2 * metric_bytes
    microtile.steps = head_dim
    microtile.ahead = nothing
    microtile.ahead_bytes = 0
    microtile.output_row_bytes = similarity_bytes
    microtile.mode = STORE
    microtile.bias = 0
    microtile.gamma = 0
    microtile.row_scales = 0
    microtile.column_scales = 0
    microtile.column_sums = 0
    largest, found = f32_at(best), i32_at(partner)
    for even in range(0, evens, ROWS):
        microtile.input = metric + even * 2 * metric_bytes
        for panel in range(panels):
            microtile.weights = records + panel * WEIGHTS_RECORD_BYTES
            microtile.output = similarities + panel * COLUMNS * 4
            multiply(at, ZERO, odds - panel * COLUMNS)
        for r in range(min(ROWS, evens - even)):
            similarity = f32_at(similarities + r * similarity_bytes)
            most, where = UNKNOWN, 0
            for odd in range(odds):
                if similarity[odd] > most:
                    most, where = similarity[odd], odd
            largest[even + r], found[even + r] = most, where


@kernel
def sizes_of(net, merging, picture, merges):
    """How many of the first tokens each token of a picture holds, after so many blocks have merged."""
    return i32_at(merging.sizes + merges % 2 * merging.sizes_bytes + picture * net.tokens * 4)


@kernel
def choose(net, work, merging, picture, r, best, partner):
    """Choose the r even tokens of a picture to merge. Write the new places and sizes of all its tokens.

    best, partner: addresses, as of match(). Of equally similar pairs the first counts.
    """
    tokens = work.tokens
    evens, odds, fewer = (tokens + 1) // 2, tokens // 2, tokens - r
    similarity, found = f32_at(best), i32_at(partner)
    for _ in range(r):
        most, which = MERGED, 0
        for even in range(1, evens):  # token 0, the class token, is never merged
            if similarity[even] > most:
                most, which = similarity[even], even
        similarity[which] = MERGED
    places, to = i32_at(merging.places + picture * net.tokens * 4), 0
    for even in range(evens):
        if similarity[even] == MERGED:
            places[2 * even] = evens - r + found[even]
        else:
            places[2 * even] = to
            to += 1
    for odd in range(odds):
        places[2 * odd + 1] = evens - r + odd
    before = sizes_of(net, merging, picture, work.merges)
    after = sizes_of(net, merging, picture, work.merges + 1)
    if work.merges == 0:
        for token in range(tokens):
            before[token] = 1
    for token in range(fewer):
        after[token] = 0
    for token in range(tokens):
        after[places[token]] += before[token]
    bias, logarithms = f32_at(merging.key_bias + picture * merging.key_bias_bytes), f32_at(merging.logarithms)
    for token in range(fewer):
        bias[token] = logarithms[after[token]]


@kernel
def average(net, work, merging, r, tokens):
    """y = the rows of x after merging, averages weighted by sizes, for the own rows of the fewer tokens.

    tokens: number of tokens of a picture before. work: has the rows and tokens of afterwards.
    """
    stride, p = row_bytes(net.k * net.head_dim), net.k * net.head_dim
    unmerged = (tokens + 1) // 2 - r  # number of even tokens that are left
    for picture in range(work.first_row // work.tokens, min(net.batch, -(-work.end_row // work.tokens))):
        places = i32_at(merging.places + picture * net.tokens * 4)
        before = sizes_of(net, merging, picture, work.merges)
        after = sizes_of(net, merging, picture, work.merges + 1)
        x, first = net.x + picture * tokens * stride, picture * work.tokens
        for joins in range(2):  # first the tokens that stay, then those that join them
            for token in range(0, tokens, 1 + joins):
                place = np.int64(places[token])
                row = first + place
                merged = token % 2 == 0 and place >= unmerged
                if merged == (joins == 1) and work.first_row <= row < work.end_row:
                    share = np.float32(before[token]) / np.float32(after[place])
                    if merged:
                        add_scaled(net.y + row * stride, x + token * stride, p, share)
                    else:
                        scale(x + token * stride, net.y + row * stride, p, share)


@kernel
def merge(net, work, index, qkv):
    """Merge tokens of x after the attention of block `index`, if its schedule says so.

    The block's keys are in qkv. It changes the tokens, and the rows of this thread.
    """
    merging = merging_at(net.merging)
    r = i64_at(merging.schedule)[index]
    if r == 0:
        return
    measure(net, work, merging, qkv)
    barrier(net.sync, net.threads)
    best = work.scratch
    partner = best + padded(work.tokens, 16) * 4
    for picture in range(work.thread, net.batch, net.threads):
        match(net, work, merging, picture, best, partner)
        choose(net, work, merging, picture, r, best, partner)
    barrier(net.sync, net.threads)
    tokens = work.tokens
    divide_rows(net, work, tokens - r)
    average(net, work, merging, r, tokens)
    barrier(net.sync, net.threads)
    stride, p = row_bytes(net.k * net.head_dim), net.k * net.head_dim
    for row in range(work.first_row, min(work.end_row, net.batch * work.tokens)):
        copy(net.y + row * stride, net.x + row * stride, p)
    work.merges += 1


@kernel
def key_bias_of(net, work, picture):
    """The address of what is added to the scores of a picture's keys; 0 before tokens are merged."""
    if work.merges == 0:
        return ZERO
    merging = merging_at(net.merging)
    return merging.key_bias + picture * merging.key_bias_bytes
