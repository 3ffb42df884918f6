"""LLVM IR of the matrix product on AMX: the CPU multiplies whole tiles, 16 rows of 64 bytes each.

Source: Intel, "Architecture Instruction Set Extensions Programming Reference", chapter "Intel AMX".
"""

from functools import reduce
from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import F32, I8, I32, I64, VOID, declare, define, load, offset, prefetch
from hydrart.codegen.emit_gemm import (
    AHEAD_END,
    AHEAD_LINES,
    AHEAD_LIST,
    AHEAD_SHIFT,
    AHEAD_WRAP,
    LISTS,
    STORE,
    STORE_BF16,
    finish,
)
from hydrart.codegen.isa import FLOAT_DOTS, Isa

BLOCKS = 5  # blocks of rows at once, at most: those of two tiles of up to 16
RUNS = (16, 8, 4)
A, B = 4, 6  # tiles 0 to 3 are accumulators, 4 and 5 hold activations, 6 and 7 weights
PRODUCT = {"tdpbf16": "tdpbf16ps", "tdpbusd": "tdpbusd"}  # dot -> instruction


def tile(b: Any, instruction: str, *operands: Any) -> None:
    """Tiles are operands by their number, an i8."""
    b.call(declare(b.module, f"llvm.x86.{instruction}", VOID, [value.type for value in operands]), operands)


def pointer(b: Any, address: Any) -> Any:
    return b.inttoptr(address, I8.as_pointer())


def configure(module: Any, isa: Isa) -> Any:
    """Give the tiles a shape, until release(): arguments are the steps at a time, of RUNS, and the rows, 1 to 16."""

    def body(b: Any, args: list[Any]) -> None:
        run, rows = args
        content = b"".join(_palette(steps, count) for steps in RUNS for count in range(1, 17))
        table = ir.GlobalVariable(module, ir.ArrayType(I8, len(content)), f"hydrart.{isa.name}.shapes")
        table.initializer = ir.Constant(table.type.pointee, bytearray(content))
        table.linkage, table.global_constant = "internal", True
        index = b.select(b.icmp_unsigned("==", run, I64(RUNS[1])), I64(1), I64(2))
        index = b.select(b.icmp_unsigned("==", run, I64(RUNS[0])), I64(0), index)
        index = b.add(b.shl(index, I64(4)), b.sub(rows, I64(1)))
        tile(b, "ldtilecfg", pointer(b, b.add(b.ptrtoint(table, I64), b.shl(index, I64(6)))))

    return define(module, isa, "configure", 2, body)


def release(module: Any, isa: Isa) -> Any:
    """The tiles are not needed any more, and Linux need not keep them when it switches to another thread."""
    return define(module, isa, "release", 0, lambda b, args: tile(b, "tilerelease"))


def gemm_tiles(module: Any, isa: Isa, name: str, vectors: int) -> Any:
    """emit_gemm.gemm_tile for 1 to BLOCKS blocks of rows, whose number comes before its arguments; see configure().

    Two tiles of rows meet two of columns, so that each that is loaded is used twice; further columns follow.
    """
    n = isa.lanes

    def body(b: Any, args: list[Any]) -> None:
        blocks, a, lda, record, steps, ahead, position, c, ldc, mode, bias, gamma, row_scale, column_scale, sums = args
        words = range(LISTS)
        tile_shift, step_bytes, wrap, list_bytes, run = (load(b, offset(b, record, 8 * word), I64) for word in words)
        height = b.mul(blocks, I64(isa.rows // 2))  # of a tile
        products = b.ptrtoint(b.alloca(ir.ArrayType(ir.VectorType(F32, n), BLOCKS * isa.rows * 2)), I64)
        fetched = position
        for first in range(0, vectors, 2):
            columns = min(2, vectors - first)
            lists = [
                b.add(offset(b, record, LISTS * 8), b.mul(list_bytes, I64(first + column))) for column in range(columns)
            ]
            fetched = _multiply(
                b, name, columns, (a, lda, height), (lists, tile_shift, step_bytes, wrap, run), steps, ahead, fetched
            )

            def shifted(address: Any, element: int = 4, first: int = first) -> Any:
                moved = offset(b, address, first * n * element)
                return b.select(b.icmp_unsigned("!=", address, I64(0)), moved, address) if first else address

            of_columns = [shifted(address) for address in (bias, gamma, column_scale, sums)]
            wide, short = shifted(c), shifted(c, 2)
            to = b.select(b.icmp_unsigned("==", mode, I64(STORE_BF16)), short, wide)
            plain, rest, end = (b.append_basic_block(part) for part in ("plain", "rest", "end"))
            anything = reduce(b.or_, (mode, row_scale, *of_columns), I64(int(name not in FLOAT_DOTS)))
            b.cbranch(b.icmp_unsigned("==", anything, I64(STORE)), plain, rest)
            b.position_at_end(plain)
            _store(b, isa, columns, height, to, ldc)
            b.branch(end)
            b.position_at_end(rest)
            _store(b, isa, columns, height, products, I64(columns * n * 4))
            _write(b, isa, name, columns, b.mul(height, I64(2)), products, to, ldc, mode, row_scale, of_columns)
            b.branch(end)
            b.position_at_end(end)

    return define(module, isa, f"gemm.{name}.{vectors}", 15, body)


def _multiply(
    b: Any, name: str, columns: int, rows: tuple[Any, ...], weights: tuple[Any, ...], steps: Any, ahead: Any, fetch: Any
) -> Any:
    """Into the accumulators 2 * i + v, of tile i of rows and v of columns.

    fetch: the position in what is prefetched; returns the one after it.
    """
    a, lda, height = rows
    lists, tile_shift, step_bytes, wrap, run = weights
    run_bytes = b.shl(run, I64(2))
    down, lower = b.mul(run, step_bytes), b.add(a, b.mul(lda, height))
    for i in range(2):
        for v in range(columns):
            tile(b, "tilezero", I8(2 * i + v))
    before, loop, after = b.block, b.append_basic_block("runs"), b.append_basic_block("write")
    b.branch(loop)
    b.position_at_end(loop)
    at, within, fetched = b.phi(I64), b.phi(I64), b.phi(I64)
    for phi, start in ((at, I64(0)), (within, I64(0)), (fetched, fetch)):
        phi.add_incoming(start, before)
    fetched_next = _fetch(b, ahead, fetched)
    for i, address in enumerate((a, lower)):
        tile(b, "tileloadd64", I8(A + i), pointer(b, b.add(address, at)), lda)
    entry = b.shl(b.lshr(at, tile_shift), I64(3))
    for v in range(columns):
        base = load(b, b.add(lists[v], entry), I64)
        tile(b, "tileloadd64", I8(B + v), pointer(b, b.add(base, within)), step_bytes)
        for i in range(2):
            tile(b, PRODUCT[name], I8(2 * i + v), I8(A + i), I8(B + v))
    following = b.add(at, run_bytes)
    ends = (following, b.and_(b.add(within, down), wrap), fetched_next)
    for phi, value in zip((at, within, fetched), ends, strict=True):
        phi.add_incoming(value, b.block)
    b.cbranch(b.icmp_unsigned("<", following, b.shl(steps, I64(2))), loop, after)
    b.position_at_end(after)
    return fetched_next


def _fetch(b: Any, ahead: Any, position: Any) -> Any:
    """Prefetch the lines of a run; returns the position after them.

    No more at a time than the next turn wants by then: fetching, tiles are loaded through the same few buffers.
    """
    words = (AHEAD_SHIFT, AHEAD_WRAP, AHEAD_END, AHEAD_LINES)
    shift, wrap, end, lines = (load(b, offset(b, ahead, word * 8), I64) for word in words)
    after = b.add(position, b.shl(lines, I64(6)))
    until = b.select(b.icmp_unsigned("<", after, end), after, end)
    before, loop, done = b.block, b.append_basic_block("line"), b.append_basic_block("fetched")
    b.cbranch(b.icmp_unsigned("<", position, until), loop, done)
    b.position_at_end(loop)
    at = b.phi(I64)
    at.add_incoming(position, before)
    base = load(b, b.add(offset(b, ahead, AHEAD_LIST * 8), b.shl(b.lshr(at, shift), I64(3))), I64)
    prefetch(b, b.add(base, b.and_(at, wrap)), 0, 2)
    following = b.add(at, I64(64))
    at.add_incoming(following, loop)
    b.cbranch(b.icmp_unsigned("<", following, until), loop, done)
    b.position_at_end(done)
    return after


def _store(b: Any, isa: Isa, columns: int, height: Any, to: Any, stride: Any) -> None:
    """The accumulators, side by side and one below the other."""
    for i in range(2):
        for v in range(columns):
            place = offset(b, b.add(to, b.mul(b.mul(height, stride), I64(i))), v * isa.lanes * 4)
            tile(b, "tilestored64", I8(2 * i + v), pointer(b, place), stride)


def _write(
    b: Any, isa: Isa, name: str, columns: int, rows: Any, products: Any, c: Any, ldc: Any, mode: Any, row_scale: Any,
    of_columns: list[Any],
) -> None:  # fmt: skip
    """Row by row, from the products on the stack."""
    floating = name in FLOAT_DOTS
    n = isa.lanes
    f32 = ir.VectorType(F32, n)
    bias, gamma, column_scale, sums = of_columns
    before, loop, after = b.block, b.append_basic_block("row"), b.append_basic_block("done")
    scaled = b.icmp_unsigned("!=", row_scale, I64(0))
    b.branch(loop)
    b.position_at_end(loop)
    row, at, to, scale = (b.phi(I64) for _ in range(4))
    for phi, start in ((row, I64(0)), (at, products), (to, c), (scale, row_scale)):
        phi.add_incoming(start, before)
    kind = f32 if floating else ir.VectorType(I32, n)
    values = [load(b, offset(b, at, v * n * 4), kind) for v in range(columns)]
    if not floating:
        values = [b.sitofp(value, f32) for value in values]
    grid = [(0, v) for v in range(columns)]
    finish(b, isa, floating, grid, values, [to], mode, bias, gamma, scale, column_scale, sums)
    following = b.add(row, I64(1))
    scale_next = b.select(scaled, offset(b, scale, 4 if floating else 8), I64(0))
    ends = (following, offset(b, at, columns * n * 4), b.add(to, ldc), scale_next)
    for phi, value in zip((row, at, to, scale), ends, strict=True):
        phi.add_incoming(value, b.block)
    b.cbranch(b.icmp_unsigned("<", following, rows), loop, after)
    b.position_at_end(after)


def _palette(steps: int, rows: int) -> bytes:
    """Of palette 1: bytes of a row and rows, for each tile."""
    widths, heights = zip(*[(64, rows)] * 4, *[(4 * steps, rows)] * 2, *[(64, steps)] * 2, strict=True)
    head = bytes([1]) + bytes(15)
    return head + b"".join(w.to_bytes(2, "little") for w in widths) + bytes(16) + bytes(heights) + bytes(8)
