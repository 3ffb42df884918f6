"""LLVM IR of the matrix product: one register tile of accumulators that runs down the inputs."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import (
    F32,
    I32,
    I64,
    UNROLL,
    bfloat16,
    define,
    dot,
    halves,
    lane,
    load,
    offset,
    pinned,
    prefetch,
    splat,
    store,
)
from hydrart.codegen.isa import BLOCK_DOTS, FLOAT_DOTS, Isa

# Words of a record that tells where B lies, before its addresses. A vector of columns has a list of addresses, one for
# each tile down the inputs: where the vector's first step lies.
#   TILE_SHIFT: a byte offset in a row of A, shifted right by this, is an index in the list
#   STEP_BYTES: from step to step; WRAP: byte offset in a tile & WRAP; LIST_BYTES: from list to list
#   RUN: steps that lie one after another, of which `steps` and a list's tiles are multiples; with AMX, those that its
#   tiles take at once: 16, 8 or 4
TILE_SHIFT, STEP_BYTES, WRAP, LIST_BYTES, RUN, LISTS = range(6)
# The same for what is prefetched, with one list: a position >> AHEAD_SHIFT is an index, & AHEAD_WRAP an offset; those
# lines lie one after another. AHEAD_LINES are fetched for each turn of the loop, UNROLL steps, with AMX for each run,
# up to the position AHEAD_END
AHEAD_SHIFT, AHEAD_WRAP, AHEAD_END, AHEAD_LINES, AHEAD_LIST = range(5)
LINE_BYTES = 64

NEAR_ROWS = 3  # that x86 addresses from one register

STORE, ADD, STORE_BF16 = 0, 1, 2  # what becomes of the products: written, added to what is there, written as bfloat16


def gemm_tile(module: Any, isa: Isa, name: str, vectors: int) -> Any:
    """C[rows, vectors of columns] = dot over `steps` lanes of A[rows, :] and B, scaled, plus what is there.

    Arguments, all i64; the addresses after mode may be 0 for none:
    a, lda (bytes), b (a record, see above), steps (a multiple of UNROLL), ahead (a record), position (in what is
    prefetched), c (float32, or bfloat16 by its mode), ldc (bytes), mode, bias [columns], gamma [columns], row_scale,
    column_scale [columns], column_sums [columns].
    Of integers, row_scale is [rows][step, low], the activations being low + step * q, and
    c = (((sum * step + low * column_sum) * column_scale) + bias) * gamma (+ c), without column_sums sum * step alone;
    of floats, row_scale is [rows], and column_sums is not used.
    For dots of blocks, B holds two steps of a column side by side.
    """
    floating = name in FLOAT_DOTS
    n = isa.lanes
    f32, i32 = ir.VectorType(F32, n), ir.VectorType(I32, n)
    kind = f32 if floating else i32
    grid = [(r, v) for r in range(isa.rows) for v in range(vectors)]

    def body(b: Any, args: list[Any]) -> None:
        a, lda, record, steps, ahead, position, c, ldc, mode, bias, gamma, row_scale, column_scale, column_sums = args

        def word(of: Any, index: int) -> Any:
            return load(b, offset(b, of, index * 8), I64)

        out = [b.add(c, b.mul(ldc, I64(r))) for r in range(isa.rows)]
        for address in out:
            for byte in range(0, vectors * n * 4, 64):
                prefetch(b, offset(b, address, byte), 1, 3)
        tile_shift, step_bytes, wrap, list_bytes, run = (word(record, index) for index in range(LISTS))
        lists = [b.add(offset(b, record, LISTS * 8), b.mul(list_bytes, I64(v))) for v in range(vectors)]
        ahead_shift, ahead_wrap = word(ahead, AHEAD_SHIFT), word(ahead, AHEAD_WRAP)
        line_bytes = b.mul(word(ahead, AHEAD_LINES), I64(LINE_BYTES))
        run_bytes, run_lines = b.shl(run, I64(2)), b.mul(b.udiv(run, I64(UNROLL)), line_bytes)
        down = b.mul(run, step_bytes)
        # the address of a row is the sum of one that moves and one that does not. x86 has few registers: of six rows
        # that are two and three, a + i, a + i + 3 * lda, 0, lda and 2 * lda
        near = isa.rows if isa.arm else NEAR_ROWS
        still = [b.mul(lda, I64(r)) for r in range(near)]
        first = [I64(0)] if isa.arm else [b.add(a, b.mul(lda, I64(r))) for r in range(0, isa.rows, near)]
        if isa.arm:
            still = [b.add(a, value) for value in still]

        runs, turns, between, after = (b.append_basic_block(part) for part in ("runs", "turns", "between", "write"))
        zero = ir.Constant(kind, None)
        i, within, fetched, *totals = _loop(b, runs, [I64(0), I64(0), position, *[zero] * len(grid)])
        entry = b.shl(b.lshr(i, tile_shift), I64(3))
        bases = [b.add(load(b, b.add(of, entry), I64), within) for of in lists]
        entry = b.shl(b.lshr(fetched, ahead_shift), I64(3))
        line = b.add(load(b, b.add(offset(b, ahead, AHEAD_LIST * 8), entry), I64), b.and_(fetched, ahead_wrap))
        moving = [b.add(address, i) for address in first]
        end = b.add(moving[0], run_bytes)
        of_run = _loop(b, turns, [I64(0), line, *moving, *totals])
        at, line, *rest = of_run
        moving, sums = rest[: len(first)], dict(zip(grid, rest[len(first) :], strict=True))
        prefetch(b, line, 0, 2)

        def row(r: int) -> Any:
            return b.add(moving[r // near], still[r % near])

        quads = [load(b, row(r), ir.VectorType(I32, UNROLL)) for r in range(isa.rows)] if isa.arm else []
        if name in BLOCK_DOTS:
            _blocks(b, isa, name, sums, quads, [b.add(base, at) for base in bases], b.shl(step_bytes, I64(1)))
            at = b.add(at, b.shl(step_bytes, I64(2)))
        else:
            # LLVM would load the operands of all steps first, for which there are too few registers: keep it in order
            for u in range(UNROLL):
                at = pinned(b, isa, at)
                weights = [load(b, b.add(base, at), i32) for base in bases]
                at = b.add(at, step_bytes)
                for r in range(isa.rows):
                    if isa.arm:  # LLVM folds this lane into fmla and sdot
                        value = lane(b, quads[r], u, n)
                    else:  # a broadcast from memory
                        moving[r // near] = pinned(b, isa, moving[r // near])
                        value = splat(b, load(b, offset(b, row(r), 4 * u), I32), n)
                    for v in range(vectors):
                        sums[r, v] = pinned(b, isa, dot(b, isa, name, sums[r, v], value, weights[v]))
        moving = [b.add(address, I64(4 * UNROLL)) for address in moving]
        _again(b, of_run, [at, b.add(line, line_bytes), *moving, *sums.values()])
        b.cbranch(b.icmp_unsigned("<", moving[0], end), turns, between)
        b.position_at_end(between)
        i_next = b.add(i, run_bytes)
        ends = [i_next, b.and_(b.add(within, down), wrap), b.add(fetched, run_lines), *sums.values()]
        _again(b, [i, within, fetched, *totals], ends)
        b.cbranch(b.icmp_unsigned("<", i_next, b.shl(steps, I64(2))), runs, after)
        b.position_at_end(after)
        if name in BLOCK_DOTS:
            sums = {(r, v): halves(b, sums[r & ~1, v], sums[r | 1, v], r & 1) for r, v in grid}
        values = [sums[place] if floating else b.sitofp(sums[place], f32) for place in grid]
        finish(b, isa, floating, grid, values, out, mode, bias, gamma, row_scale, column_scale, column_sums)

    return define(module, isa, f"gemm.{name}.{vectors}", 14, body)


def finish(
    b: Any,
    isa: Isa,
    floating: bool,
    grid: list[tuple[int, int]],
    values: list[Any],
    out: list[Any],
    mode: Any,
    bias: Any,
    gamma: Any,
    row_scale: Any,
    column_scale: Any,
    column_sums: Any,
) -> None:
    """Scale products and write them: values by place (row, vector), `out` the addresses of the rows; see gemm_tile."""
    n = isa.lanes
    f32 = ir.VectorType(F32, n)
    vectors = 1 + max(v for _, v in grid)
    rows = len(out)

    def of_columns(address: Any) -> list[Any]:
        return [load(b, offset(b, address, v * n * 4), f32) for v in range(vectors)]

    def by_column(address: Any, operation: Any) -> None:
        def apply() -> list[Any]:
            factors = of_columns(address)
            return [operation(value, factors[v]) for value, (_, v) in zip(values, grid, strict=True)]

        values[:] = _or_else(b, address, apply, values)

    pair = 4 if floating else 8  # bytes of a row's scales

    def by_row() -> list[Any]:
        factors = [splat(b, load(b, offset(b, row_scale, r * pair), F32), n) for r in range(rows)]
        return [b.fmul(value, factors[r]) for value, (r, _) in zip(values, grid, strict=True)]

    def with_sums() -> list[Any]:
        sums_of = of_columns(column_sums)
        lows = [splat(b, load(b, offset(b, row_scale, r * pair + 4), F32), n) for r in range(rows)]
        return [b.fadd(value, b.fmul(lows[r], sums_of[v])) for value, (r, v) in zip(values, grid, strict=True)]

    values[:] = _or_else(b, row_scale, by_row, values)
    if not floating:
        values[:] = _or_else(b, column_sums, with_sums, values)
    by_column(column_scale, b.fmul)
    by_column(bias, b.fadd)
    by_column(gamma, b.fmul)
    places = [offset(b, out[r], v * n * 4) for r, v in grid]
    adds = b.zext(b.icmp_unsigned("==", mode, I64(ADD)), I64)
    values[:] = _or_else(
        b, adds, lambda: [b.fadd(v, load(b, at, f32)) for v, at in zip(values, places, strict=True)], values
    )
    if isa.short:
        wide, short, end = (b.append_basic_block(part) for part in ("wide", "short", "end"))
        b.cbranch(b.icmp_unsigned("==", mode, I64(STORE_BF16)), short, wide)
        b.position_at_end(short)
        for value, (r, v) in zip(values, grid, strict=True):
            store(b, bfloat16(b, value), offset(b, out[r], v * n * 2))
        b.branch(end)
        b.position_at_end(wide)
    for value, place in zip(values, places, strict=True):
        store(b, value, place)
    if isa.short:
        b.branch(end)
        b.position_at_end(end)


def _loop(b: Any, block: Any, values: list[Any]) -> list[Any]:
    """Go on in this block, which will be come back to; these values may then be others, see _again()."""
    before = b.block
    b.branch(block)
    b.position_at_end(block)
    phis = [b.phi(value.type) for value in values]
    for phi, value in zip(phis, values, strict=True):
        phi.add_incoming(value, before)
    return phis


def _again(b: Any, phis: list[Any], values: list[Any]) -> None:
    """What they are if the loop is taken again from here."""
    for phi, value in zip(phis, values, strict=True):
        phi.add_incoming(value, b.block)


def _blocks(
    b: Any, isa: Isa, name: str, sums: dict[tuple[int, int], Any], quads: list[Any], at: list[Any], two_steps: Any
) -> None:
    """UNROLL steps in blocks of 2 x 2: sums[2 * i + j, v] holds rows 2 * i, columns 4 * v + 2 * j, and the next."""
    for pair in range(UNROLL // 2):
        values = [halves(b, quads[r], quads[r + 1], pair) for r in range(0, isa.rows, 2)]
        for v, address in enumerate(at):
            for j in range(2):
                place = offset(b, b.add(address, two_steps) if pair else address, j * 16)
                weights = load(b, place, ir.VectorType(I32, isa.lanes))
                for i, value in enumerate(values):
                    sums[2 * i + j, v] = dot(b, isa, name, sums[2 * i + j, v], value, weights)


def _or_else(b: Any, condition: Any, compute: Callable[[], list[Any]], otherwise: list[Any]) -> list[Any]:
    """compute() where the i64 is not 0, in a branch of its own; the values of `otherwise` where it is."""
    here, there, join = b.block, b.append_basic_block("with"), b.append_basic_block("join")
    b.cbranch(b.icmp_unsigned("!=", condition, I64(0)), there, join)
    b.position_at_end(there)
    computed = compute()
    there = b.block
    b.branch(join)
    b.position_at_end(join)
    merged = []
    for new, old in zip(computed, otherwise, strict=True):
        phi = b.phi(new.type)
        phi.add_incoming(new, there)
        phi.add_incoming(old, here)
        merged.append(phi)
    return merged
