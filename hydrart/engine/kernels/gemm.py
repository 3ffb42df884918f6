"""Matrix products over tiles that lie in the mapped weight file.

Outputs are taken in groups of 64, inputs in chunks; all rows pass by a group and chunk, while the next tiles are
fetched from memory. Tiles are multiplied where they lie. Where the CPU has no arithmetic for their type, or wants
another order, they are first unpacked into panels of the register tile's width.
"""

from numba.extending import register_jitable

from hydrart.codegen import emit_tiles
from hydrart.codegen.emit import EXPAND, UNROLL
from hydrart.codegen.emit_gemm import ADD, AHEAD_END, AHEAD_LINES, AHEAD_LIST, LINE_BYTES, LISTS, STORE_BF16
from hydrart.codegen.isa import BLOCK_DOTS
from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.intrinsics import (
    ISA,
    configure,
    gelu,
    gemm_bf16,
    gemm_fp32,
    gemm_int8,
    i64_at,
    narrow_bf16,
    narrow_int8,
    release,
    unpack_bf16,
    unpack_int8,
)

FP32, BF16, INT8 = 0, 1, 2  # precision of a matrix
ROWS, COLUMNS, LANES, VECTORS = ISA.rows, ISA.columns, ISA.lanes, ISA.vectors
GROUP = max(64, COLUMNS)  # outputs taken together: a multiple of every head_dim
PANELS = GROUP // COLUMNS
# 32-bit lanes of inputs in a chunk at most. Unpacked: those of 200 rows, with the panels of two groups, fit into
# 512 KB of cache. In place: longer runs pay, and a float32 sum of more terms loses accuracy
STEPS, STEPS_IN_PLACE = 256, 384
PANEL_BYTES = GROUP * STEPS * 4
NEVER = 62  # a shift that leaves nothing of an offset

BF16_EXPAND = EXPAND[ISA.conversion("bf16")]  # steps of a dot for each stored row of lanes
INT8_EXPAND = EXPAND[ISA.conversion("int8")]
BF16_IN_PLACE = ISA.conversion("bf16") is None
INT8_IN_PLACE = ISA.conversion("int8") is None
INTEGER = ISA.int8 != "fma"  # int8 weights meet integers
BF16_PAIR = 2 if ISA.bf16 in BLOCK_DOTS else 1  # steps that a vector of a panel holds
INT8_PAIR = 2 if ISA.int8 in BLOCK_DOTS else 1


# blocks of rows that are multiplied at once
BLOCKS = emit_tiles.BLOCKS if ISA.tiles else 1
AHEAD = LINE_BYTES // UNROLL  # bytes fetched for each step


@register_jitable
def pack_bytes(blocks: int) -> int:
    """Scratch of one product with so many input blocks at most: panels, then records of where weights lie."""
    records = PANELS * (LISTS + VECTORS * blocks) + AHEAD_LIST + 64 // 16 * blocks + blocks // 4 + 2
    return PANEL_BYTES + records * 8


@kernel
def unpack_tile(w, tile, head_dim, column, step, panels, panel_bytes):
    """A stored tile [w.rows][head_dim] of 32-bit lanes into panels [..., COLUMNS], from this column and step on."""
    stride, wide = head_dim * 4, head_dim >= COLUMNS
    for begin in range(0, head_dim, COLUMNS if wide else LANES):
        at = column + begin
        source, target = tile + begin * 4, panels + at // COLUMNS * panel_bytes + step * COLUMNS * 4
        if w.precision == INT8:
            if wide:
                unpack_int8(source, stride, w.rows, target)
            else:
                narrow_int8(source, stride, w.rows, target + at % COLUMNS * 4 * INT8_PAIR)
        elif wide:
            unpack_bf16(source, stride, w.rows, target)
        else:
            narrow_bf16(source, stride, w.rows, target + at % COLUMNS * 4 * BF16_PAIR)


@kernel
def describe(record, shift, step_bytes, wrap, entries, run):
    """Begin a record of B (emit_gemm.py), whose lists have so many entries each; returns where the lists begin."""
    words = i64_at(record)
    words[0], words[1], words[2], words[3], words[4] = shift, step_bytes, wrap, entries * 8, run
    return record + LISTS * 8


@kernel
def describe_panel(record, panel, run, pair):
    """A record of one panel [runs of steps][COLUMNS]; a vector of it holds `pair` steps."""
    lists = i64_at(describe(record, NEVER, COLUMNS * 4, -1, 1, run))
    for v in range(VECTORS):
        lists[v] = panel + v * LANES * 4 * pair


@kernel
def describe_tiles(record, tiles, w, head_dim, run, out, vector, vectors, inner, inners):
    """A record of tiles where they lie: `vectors` from `vector` on, counted from output block `out`; `inners` input
    blocks from `inner` on."""
    lists = i64_at(describe(record, w.tile_shift - log2(head_dim), head_dim * 4, w.tile_bytes - 1, inners, run))
    per_tile = head_dim // LANES
    for v in range(vectors):
        at = vector + v
        first = w.first + (out + at // per_tile) * w.stride + inner
        for j in range(inners):
            lists[v * inners + j] = tiles[first + j] + at % per_tile * LANES * 4


@kernel
def run_of(steps):
    """Of steps, a multiple of 4, how many the tiles of AMX take at once."""
    return 16 if steps % 16 == 0 else 8 if steps % 8 == 0 else 4


@kernel
def log2(n):
    """Of 16, 32, 64."""
    return 4 if n == 16 else 5 if n == 32 else 6


@kernel
def describe_ahead(record, tiles, w, out, outs, inner, inners):
    """A record of the tiles to fetch next; returns their bytes."""
    words = i64_at(record)
    words[0], words[1], words[AHEAD_END] = w.tile_shift, w.tile_bytes - 1, outs * inners * w.tile_bytes
    words[AHEAD_LINES] = 1
    count = 0
    for i in range(outs):
        for j in range(inners):
            words[AHEAD_LIST + count] = tiles[w.first + (out + i) * w.stride + inner + j]
            count += 1
    for i in range(inners // 4 + 2):  # the last run of prefetches ends beyond them
        words[AHEAD_LIST + count + i] = words[AHEAD_LIST]
    return words[AHEAD_END]


@kernel
def describe_nothing(record, address):
    """A record of nothing to fetch: always the same line."""
    words = i64_at(record)
    words[0], words[1], words[AHEAD_END], words[AHEAD_LINES], words[AHEAD_LIST] = NEVER, 0, 0, 0, address


@kernel
def in_place(precision):
    """Whether weights of this precision are multiplied as they are stored."""
    return precision == FP32 or (BF16_IN_PLACE if precision == BF16 else INT8_IN_PLACE)


@kernel
def steps_of(w, head_dim):
    """Steps of a dot down one tile."""
    if w.precision == INT8:
        return head_dim * INT8_EXPAND // 4
    if w.precision == BF16:
        return head_dim * BF16_EXPAND // 2
    return head_dim


@kernel
def chunk_of(w, depth, per):
    """Input blocks that are taken together: as equal parts as can be."""
    if w.mode == STORE_BF16:
        return depth  # rounded once, not chunk by chunk
    chunks = -(-depth * per // (STEPS_IN_PLACE if in_place(w.precision) else STEPS))
    return -(-depth // chunks)


@kernel
def gemm(tiles, w, following, head_dim, begin, end, next_begin, sums, a, lda, row_scale, rows, c, ldc, panels):
    """C[rows, outputs] = A[rows, inputs] times a matrix, with its scale, bias and gamma.

    tiles: addresses of all tiles; w: the matrix, a MATRIX record; begin, end: its output blocks. following: the matrix
    whose tiles are needed next, from the output block next_begin on. sums: address of the column sums of all matrices.
    a, c: addresses, of the first input and the first output; lda, ldc in bytes; a has room for whole register tiles.
    row_scale: address of [rows][step, low], of integers. rows: blocks of ROWS. panels: scratch of pack_bytes.
    """
    depth, per = w.depth, steps_of(w, head_dim)
    chunk = chunk_of(w, depth, per)
    group = GROUP // head_dim
    integer = INTEGER and w.precision == INT8
    direct = in_place(w.precision)
    most = BLOCKS if w.precision != FP32 else 1
    together = -(-rows // max(-(-rows // most), 1)) or 1  # as equal parts as can be; a thread may have no rows
    shaped = 0  # for so many blocks, tiles of AMX
    run = run_of(w.rows) if most > 1 else per
    element = 2 if w.mode == STORE_BF16 else 4
    records = panels + PANEL_BYTES
    for inner in range(0, depth, chunk):
        length = min(chunk, depth - inner)
        steps = length * per
        last = inner + length == depth
        record_bytes = (LISTS + VECTORS * (length if direct else 1)) * 8
        ahead = records + PANELS * record_bytes
        for out in range(begin, end, group):
            count = min(group, end - out)
            vectors = count * head_dim // LANES
            column = (out - begin) * head_dim
            if not direct:
                for i in range(count):
                    for j in range(length):
                        tile = tiles[w.first + (out + i) * w.stride + inner + j]
                        unpack_tile(w, tile, head_dim, i * head_dim, j * per, panels, steps * COLUMNS * 4)
            for panel in range(-(-vectors // VECTORS)):
                record = records + panel * record_bytes
                if direct:
                    here = min(VECTORS, vectors - panel * VECTORS)
                    describe_tiles(record, tiles, w, head_dim, run, out, panel * VECTORS, here, inner, length)
                else:
                    pair = INT8_PAIR if w.precision == INT8 else BF16_PAIR
                    describe_panel(record, panels + panel * steps * COLUMNS * 4, run, pair)
            # the tiles of the next turn
            if out + group < end:
                to_fetch = describe_ahead(ahead, tiles, w, out + group, min(group, end - out - group), inner, length)
            elif last:
                first = chunk_of(following, following.depth, steps_of(following, head_dim))
                to_fetch = describe_ahead(ahead, tiles, following, next_begin, group, 0, first)
            else:
                n_length = min(chunk, depth - inner - length)
                to_fetch = describe_ahead(ahead, tiles, w, begin, min(group, end - begin), inner + length, n_length)
            advance = steps * AHEAD  # of the prefetches, for each panel
            if most > 1:  # AMX, whose panel is as wide as a group: evenly over its runs
                runs = steps // run * -(-vectors // 2)
                lines = -(-to_fetch // (LINE_BYTES * runs * max(-(-rows // together), 1)))
                i64_at(ahead)[AHEAD_LINES] = lines
                advance = runs * lines * LINE_BYTES
            position = 0
            for block in range(0, rows, together):
                row, blocks = block * ROWS, min(together, rows - block)
                if most > 1 and blocks != shaped:
                    configure(run, blocks * ROWS // 2)
                    shaped = blocks
                for panel in range(-(-vectors // VECTORS)):
                    at = column + panel * COLUMNS
                    output = at + begin * head_dim
                    multiply(
                        w,
                        min(VECTORS, vectors - panel * VECTORS),
                        blocks,
                        a + row * lda + inner * per * 4,
                        lda,
                        records + panel * record_bytes,
                        steps,
                        ahead,
                        min(position, to_fetch),
                        c + row * ldc + at * element,
                        ldc,
                        w.mode if inner == 0 else ADD,
                        output,
                        inner == 0,
                        row_scale + row * 8 if integer else 0,
                        sums + (w.sums + output) * 4 if integer and inner == 0 else 0,
                    )
                    position += advance
                if w.activate and last:
                    for r in range(blocks * ROWS):
                        gelu(c + (row + r) * ldc + column * 4, count * head_dim)
    if most > 1:
        release()


@kernel
def multiply(w, vectors, blocks, a, lda, b, steps, ahead, position, c, ldc, mode, column, first, row_scale, sums):
    """One register tile, or as many as these blocks of rows: the dot for the precision of the weights."""
    bias = w.bias + column * 4 if first and w.bias else 0
    gamma = w.gamma + column * 4 if w.gamma else 0
    if w.precision == INT8:
        scale = w.scale + column * 4
        gemm_int8(vectors, blocks, a, lda, b, steps, ahead, position, c, ldc, mode, bias, gamma, row_scale, scale, sums)
    elif w.precision == BF16:
        gemm_bf16(vectors, blocks, a, lda, b, steps, ahead, position, c, ldc, mode, bias, gamma, 0, 0, 0)
    else:
        gemm_fp32(vectors, blocks, a, lda, b, steps, ahead, position, c, ldc, mode, bias, gamma, 0, 0, 0)
