"""Matrix products with the tiles of the mapped weight file.

A product takes columns in groups of 64, and inputs in chunks. It multiplies all rows with a group and chunk, while the
next tiles are fetched from memory. Tiles are multiplied in place. Where the CPU has no arithmetic for their type, or
needs another order, they are first unpacked into panels as wide as a microtile.
"""

import numpy as np
from numba.extending import register_jitable

from hydrart.codegen import emit_amx
from hydrart.codegen.emit import EXPAND, UNROLL
from hydrart.codegen.isa import MMLA_DOTS
from hydrart.codegen.jit import kernel
from hydrart.codegen.records import ADD, AHEAD, LINE_BYTES, MICROTILE, STORE_BF16, WEIGHTS
from hydrart.engine.kernels.intrinsics import (
    ISA,
    configure,
    f32_at,
    gelu,
    i32_at,
    i64_at,
    microkernel_bf16,
    microkernel_fp32,
    microkernel_int8,
    narrow_bf16,
    narrow_int8,
    record_at,
    release,
    tile_sums,
    unpack_bf16,
    unpack_int8,
)
from hydrart.engine.kernels.state import MATRIX, PER_BLOCK, QKV

FP32, BF16, INT8 = 0, 1, 2  # the precisions of a matrix
ROWS, COLUMNS, LANES, VECTORS = ISA.rows, ISA.columns, ISA.lanes, ISA.vectors
STRIPS = emit_amx.AMX_STRIPS if ISA.amx else 1  # most strips of rows in a microtile
GROUP = max(64, COLUMNS)  # columns of a group: a multiple of every head_dim
PANELS = GROUP // COLUMNS
# Most steps in a chunk. Unpacked, the inputs of 200 rows and the panels of two groups fit into 512 KB of cache. In
# place, longer chunks are faster, but a float32 sum of more terms would be less accurate.
STEPS, STEPS_IN_PLACE = 256, 384
PANEL_BYTES = GROUP * STEPS * 4
ZERO, ONE_STEP = np.int64(0), np.int64(1)  # for literals, Numba would compile other variants
ALL = 62  # log2 of more bytes than any row has: an offset shifted right by it is 0
AHEAD_BYTES = LINE_BYTES // UNROLL  # bytes fetched ahead for each step
ROW_SCALE_BYTES = 8  # step and low of a row of integers

BF16_EXPAND = EXPAND[ISA.conversion("bf16")]  # steps of a dot for each stored row of lanes
INT8_EXPAND = EXPAND[ISA.conversion("int8")]
BF16_IN_PLACE = ISA.conversion("bf16") is None
INT8_IN_PLACE = ISA.conversion("int8") is None
INTEGER = ISA.int8 != "fma"  # whether int8 weights are multiplied with integers
BF16_PAIR = 2 if ISA.bf16 in MMLA_DOTS else 1  # steps in a vector of a panel
INT8_PAIR = 2 if ISA.int8 in MMLA_DOTS else 1

MATRIX_BYTES, MICROTILE_BYTES, WEIGHTS_BYTES, AHEAD_HEAD_BYTES = (
    record.itemsize for record in (MATRIX, MICROTILE, WEIGHTS, AHEAD)
)
matrix_at, microtile_at, weights_at, ahead_at = map(record_at, (MATRIX, MICROTILE, WEIGHTS, AHEAD))


@register_jitable
def pack_bytes(input_tiles: int) -> int:
    """Bytes of scratch for a product with at most this many input tiles: panels, then the records of a microtile."""
    lists = PANELS * VECTORS * input_tiles + GROUP // 16 * input_tiles + input_tiles + 1
    return PANEL_BYTES + MICROTILE_BYTES + PANELS * WEIGHTS_BYTES + AHEAD_HEAD_BYTES + lists * 8


@kernel
def tile_of(net, w, output_tile, input_tile):
    """The address of a matrix's tile."""
    return i64_at(net.tiles)[w.first_tile + output_tile * w.tile_stride + input_tile]


@kernel
def unpack_tile(w, tile, head_dim, column, step, panels, panel_bytes):
    """Unpack a stored tile into panels [steps][COLUMNS], `panel_bytes` apart, from this column and step on."""
    row_bytes, wide = head_dim * 4, head_dim >= COLUMNS
    for begin in range(0, head_dim, COLUMNS if wide else LANES):
        at = column + begin
        source, target = tile + begin * 4, panels + at // COLUMNS * panel_bytes + step * COLUMNS * 4
        if w.precision == INT8:
            if wide:
                unpack_int8(source, row_bytes, w.lane_rows, target)
            else:
                narrow_int8(source, row_bytes, w.lane_rows, target + at % COLUMNS * 4 * INT8_PAIR)
        elif wide:
            unpack_bf16(source, row_bytes, w.lane_rows, target)
        else:
            narrow_bf16(source, row_bytes, w.lane_rows, target + at % COLUMNS * 4 * BF16_PAIR)


@kernel
def describe_panel(record, panel, run_steps, pair):
    """Write a WEIGHTS record of one panel [steps][COLUMNS]. pair: number of steps in a vector."""
    weights = weights_at(record)
    weights.input_bytes_log2 = ALL
    weights.step_bytes = COLUMNS * 4
    weights.tile_mask = -1
    weights.list_bytes = 8
    weights.run_steps = run_steps
    lists = i64_at(record + WEIGHTS_BYTES)
    for v in range(VECTORS):
        lists[v] = panel + v * LANES * 4 * pair


@kernel
def describe_tiles(net, w, record, run_steps, first_vector, vectors, first_input, inputs):
    """Write a WEIGHTS record of tiles in place, for these vectors of the matrix's columns and these input tiles."""
    weights = weights_at(record)
    weights.input_bytes_log2 = w.tile_bytes_log2 - log2(net.head_dim)
    weights.step_bytes = net.head_dim * 4
    weights.tile_mask = w.tile_bytes - 1
    weights.list_bytes = inputs * 8
    weights.run_steps = run_steps
    lists = i64_at(record + WEIGHTS_BYTES)
    tile_vectors = net.head_dim // LANES
    for v in range(vectors):
        at = first_vector + v
        for j in range(inputs):
            tile = tile_of(net, w, at // tile_vectors, first_input + j)
            lists[v * inputs + j] = tile + at % tile_vectors * LANES * 4


@kernel
def run_of(steps):
    """How many of the steps, a multiple of 4, AMX takes at once."""
    return 16 if steps % 16 == 0 else 8 if steps % 8 == 0 else 4


@kernel
def log2(n):
    """The binary logarithm of 16, 32 or 64."""
    return 4 if n == 16 else 5 if n == 32 else 6


@kernel
def describe_ahead(net, w, record, first_output, outputs, first_input, inputs, microtile_bytes):
    """Write an AHEAD record that fetches these output and input tiles, which the matrix has.

    One microtile fetches microtile_bytes, the last one also from beyond the end of the tiles.
    """
    ahead = ahead_at(record)
    ahead.tile_bytes_log2 = w.tile_bytes_log2
    ahead.tile_mask = w.tile_bytes - 1
    ahead.end_bytes = outputs * inputs * w.tile_bytes
    ahead.lines = 1
    tiles = i64_at(record + AHEAD_HEAD_BYTES)
    count = 0
    for i in range(outputs):
        for j in range(inputs):
            tiles[count] = tile_of(net, w, first_output + i, first_input + j)
            count += 1
    for i in range(-(-microtile_bytes >> w.tile_bytes_log2)):  # the last microtile's prefetches go beyond the tiles
        tiles[count + i] = tiles[0]


@kernel
def describe_nothing(record, address):
    """Write an AHEAD record that fetches no tiles, but always the line at this address."""
    ahead = ahead_at(record)
    ahead.tile_bytes_log2 = ALL
    ahead.tile_mask = 0
    ahead.end_bytes = 0
    ahead.lines = 0
    i64_at(record + AHEAD_HEAD_BYTES)[0] = address


@kernel
def in_place(precision):
    """Whether weights of this precision are multiplied as they are stored."""
    return precision == FP32 or (BF16_IN_PLACE if precision == BF16 else INT8_IN_PLACE)


@kernel
def tile_steps_of(net, w):
    """Steps of a dot along the inputs of one tile."""
    if w.precision == INT8:
        return net.head_dim * INT8_EXPAND // 4
    if w.precision == BF16:
        return net.head_dim * BF16_EXPAND // 2
    return net.head_dim


@kernel
def chunk_of(net, w):
    """Number of input tiles in a chunk. The chunks of a matrix are as equal as possible."""
    if w.mode == STORE_BF16:
        return w.input_tiles  # a single chunk, so that the output is rounded once
    most = STEPS_IN_PLACE if in_place(w.precision) else STEPS
    chunks = -(-w.input_tiles * tile_steps_of(net, w) // most)
    return -(-w.input_tiles // chunks)


@kernel
def weights_record_bytes(w, inputs):
    """Bytes of the WEIGHTS record of one microtile and of its lists, with this many input tiles."""
    return WEIGHTS_BYTES + VECTORS * (inputs if in_place(w.precision) else 1) * 8


@kernel
def place_weights(net, w, panels, run_steps, first_output, outputs, first_input, inputs):
    """Write the WEIGHTS records of a group's microtiles. Tiles that are not multiplied in place are unpacked first."""
    tile_steps, record_bytes = tile_steps_of(net, w), weights_record_bytes(w, inputs)
    vectors, panel_bytes = outputs * net.head_dim // LANES, inputs * tile_steps * COLUMNS * 4
    direct = in_place(w.precision)
    if not direct:
        for i in range(outputs):
            for j in range(inputs):
                tile = tile_of(net, w, first_output + i, first_input + j)
                unpack_tile(w, tile, net.head_dim, i * net.head_dim, j * tile_steps, panels, panel_bytes)
    for panel in range(-(-vectors // VECTORS)):
        record = panels + PANEL_BYTES + MICROTILE_BYTES + panel * record_bytes
        if direct:
            vector = first_output * net.head_dim // LANES + panel * VECTORS
            width = min(VECTORS, vectors - panel * VECTORS)
            describe_tiles(net, w, record, run_steps, vector, width, first_input, inputs)
        else:
            pair = INT8_PAIR if w.precision == INT8 else BF16_PAIR
            describe_panel(record, panels + panel * panel_bytes, run_steps, pair)


@kernel
def place_ahead(net, product, w, record, output, first_input, inputs):
    """Write the AHEAD record for the group at an output tile. It fetches the next group, or the next chunk's first
    group, or the next product's."""
    group, chunk, end = GROUP // net.head_dim, chunk_of(net, w), product.end_output_tile
    after, fetched = first_input + inputs, inputs * tile_steps_of(net, w) * AHEAD_BYTES
    if output + group < end:
        outputs = min(group, end - output - group)
        describe_ahead(net, w, record, output + group, outputs, first_input, inputs, fetched)
        return
    if after < w.input_tiles:
        first, then = product.first_output_tile, min(chunk, w.input_tiles - after)
        describe_ahead(net, w, record, first, min(group, end - first), after, then, fetched)
        return
    following, first = matrix_at(net.matrices + product.next_matrix * MATRIX_BYTES), product.next_output_tile
    outputs = min(group, following.output_tiles - first)
    if outputs > 0:
        describe_ahead(net, following, record, first, outputs, ZERO, chunk_of(net, following), fetched)
    else:
        describe_nothing(record, product.panels)


@kernel
def gemm(net, product):
    """C = A W, with W's scales, bias and layer scale, and with GELU where it follows. product: a PRODUCT record.

    The matrix's `mode` says whether C is stored, added or rounded. hydrart/engine/kernels/__init__.py bounds the error.
    """
    w = matrix_at(net.matrices + product.matrix * MATRIX_BYTES)
    head_dim, first, end, strips = net.head_dim, product.first_output_tile, product.end_output_tile, product.strips
    tile_steps, chunk, group = tile_steps_of(net, w), chunk_of(net, w), GROUP // head_dim
    integer = INTEGER and w.precision == INT8
    element = 2 if w.mode == STORE_BF16 else 4  # bytes of an output
    most = STRIPS if w.precision != FP32 else 1
    together = -(-strips // max(-(-strips // most), 1)) or 1  # parts as equal as possible; a thread may have no rows
    shaped = 0  # number of strips for which AMX's registers are configured
    run_steps = run_of(w.lane_rows) if most > 1 else tile_steps
    row_bytes, output_row_bytes = product.input_row_bytes, product.output_row_bytes
    a = product.input + product.first_row * row_bytes
    c = product.output + product.first_row * output_row_bytes
    scales = product.input_scales + product.first_row * ROW_SCALE_BYTES
    panels = product.panels
    records = panels + PANEL_BYTES + MICROTILE_BYTES
    microtile = microtile_at(panels + PANEL_BYTES)
    microtile.input_row_bytes = row_bytes
    microtile.output_row_bytes = output_row_bytes
    for inner in range(0, w.input_tiles, chunk):
        inputs = min(chunk, w.input_tiles - inner)
        steps, record_bytes = inputs * tile_steps, weights_record_bytes(w, inputs)
        microtile.steps = steps
        microtile.ahead = records + PANELS * record_bytes
        microtile.mode = w.mode if inner == 0 else ADD
        for out in range(first, end, group):
            outputs = min(group, end - out)
            vectors = outputs * head_dim // LANES
            place_weights(net, w, panels, run_steps, out, outputs, inner, inputs)
            place_ahead(net, product, w, microtile.ahead, out, inner, inputs)
            ahead = ahead_at(microtile.ahead)
            advance = steps * AHEAD_BYTES  # bytes fetched during one microtile
            if most > 1:  # an AMX microtile is as wide as a group: spread the fetches evenly over its runs
                runs = steps // run_steps * -(-vectors // 2)
                ahead.lines = -(-ahead.end_bytes // (LINE_BYTES * runs * max(-(-strips // together), 1)))
                advance = runs * ahead.lines * LINE_BYTES
            fetched = 0
            for strip in range(0, strips, together):
                row, here = strip * ROWS, min(together, strips - strip)
                if most > 1 and here != shaped:
                    configure(run_steps, here * ROWS // 2)
                    shaped = here
                microtile.strips = here
                microtile.input = a + row * row_bytes + inner * tile_steps * 4
                microtile.row_scales = scales + row * ROW_SCALE_BYTES if integer else 0
                for panel in range(-(-vectors // VECTORS)):
                    column = out * head_dim + panel * COLUMNS
                    microtile.vectors = min(VECTORS, vectors - panel * VECTORS)
                    microtile.weights = records + panel * record_bytes
                    microtile.ahead_bytes = min(fetched, ahead.end_bytes)
                    microtile.output = c + row * output_row_bytes + (column - first * head_dim) * element
                    microtile.bias = w.bias + column * 4 if inner == 0 and w.bias else 0
                    microtile.gamma = w.gamma + column * 4 if w.gamma else 0
                    microtile.column_scales = w.scales + column * 4 if w.precision == INT8 else 0
                    sums = net.column_sums + (w.first_sum + column) * 4
                    microtile.column_sums = sums if integer and inner == 0 else 0
                    run_microkernel(w.precision, panels + PANEL_BYTES)
                    fetched += advance
                if w.gelu and inner + inputs == w.input_tiles:
                    for r in range(row, row + here * ROWS):
                        gelu(c + r * output_row_bytes + (out - first) * head_dim * 4, outputs * head_dim)
    if most > 1:
        release()


@kernel
def run_microkernel(precision, microtile):
    """Compute the MICROTILE record at this address, for weights of this precision."""
    if precision == INT8:
        microkernel_int8(microtile)
    elif precision == BF16:
        microkernel_bf16(microtile)
    else:
        microkernel_fp32(microtile)


@kernel
def fill_column_sums(net, counted):
    """Compute the sum of each column of all INT8 matrices in the blocks, for the k in use.

    counted: address of a scratch buffer, int32 [head_dim].
    """
    head_dim, sums_of_tile = net.head_dim, i32_at(counted)
    for m in range(QKV, QKV + PER_BLOCK * net.depth):
        w = matrix_at(net.matrices + m * MATRIX_BYTES)
        if w.precision != INT8:
            continue
        for out in range(w.output_tiles):
            for d in range(head_dim):
                sums_of_tile[d] = 0
            for inner in range(w.input_tiles):
                tile = tile_of(net, w, out, inner)
                for d in range(0, head_dim, LANES):
                    tile_sums(tile + d * 4, head_dim * 4, w.lane_rows, counted + d * 4)
            sums = f32_at(net.column_sums + (w.first_sum + out * head_dim) * 4)
            for d in range(head_dim):
                sums[d] = np.float32(sums_of_tile[d])
