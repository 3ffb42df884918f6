"""LLVM IR of the microkernel on AMX, whose registers are matrices of 16 rows of 64 bytes.

Source: Intel, "Architecture Instruction Set Extensions Programming Reference", chapter "Intel AMX".
"""

from functools import reduce
from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import F32, I8, I32, I64, VOID, Loop, declare, define, field, load, offset, prefetch
from hydrart.codegen.emit_epilogue import EPILOGUE, epilogue, row_scale_bytes
from hydrart.codegen.isa import FLOAT_DOTS, Isa
from hydrart.codegen.records import AHEAD, LINE_BYTES, MICROTILE, STORE, STORE_BF16, WEIGHTS

AMX_STRIPS = 5  # most strips at once: their rows fit into two registers of up to 16 rows
RUNS = (16, 8, 4)  # possible numbers of steps at once
# tmm0 to tmm3 are sums, tmm4 and tmm5 hold activations, tmm6 and tmm7 weights
TMM_INPUTS, TMM_WEIGHTS = 4, 6
INSTRUCTIONS = {"tdpbf16": "tdpbf16ps", "tdpbusd": "tdpbusd"}  # dot -> instruction
_COLUMN_TERMS = ("bias", "gamma", "column_scales", "column_sums")


def amx(b: Any, instruction: str, *operands: Any) -> None:
    """Emit an instruction of AMX. An operand that is a register is its number, an i8."""
    b.call(declare(b.module, f"llvm.x86.{instruction}", VOID, [value.type for value in operands]), operands)


def pointer(b: Any, address: Any) -> Any:
    """The address as the pointer that AMX's instructions take."""
    return b.inttoptr(address, I8.as_pointer())


def configure(module: Any, isa: Isa) -> Any:
    """Set the shape of the registers until release(). Arguments: steps at once (of RUNS), rows of a register."""

    def body(b: Any, args: list[Any]) -> None:
        run_steps, rows = args
        content = b"".join(_palette(steps, count) for steps in RUNS for count in range(1, 17))
        table = ir.GlobalVariable(module, ir.ArrayType(I8, len(content)), f"hydrart.{isa.name}.shapes")
        table.initializer = ir.Constant(table.type.pointee, bytearray(content))
        table.linkage, table.global_constant = "internal", True
        index = b.select(b.icmp_unsigned("==", run_steps, I64(RUNS[1])), I64(1), I64(2))
        index = b.select(b.icmp_unsigned("==", run_steps, I64(RUNS[0])), I64(0), index)
        index = b.add(b.shl(index, I64(4)), b.sub(rows, I64(1)))
        amx(b, "ldtilecfg", pointer(b, b.add(b.ptrtoint(table, I64), b.shl(index, I64(6)))))

    return define(module, isa, "configure", 2, body)


def release(module: Any, isa: Isa) -> Any:
    """Release the registers, so that Linux need not save them when it switches to another thread."""
    return define(module, isa, "release", 0, lambda b, args: amx(b, "tilerelease"))


def amx_microkernel(module: Any, isa: Isa, name: str, vectors: int) -> Any:
    """Compute 1 to AMX_STRIPS strips of rows by this many vectors, after configure(). Argument: a MICROTILE record.

    Two registers of rows meet two of columns, so that each loaded register is used twice. Further columns follow.
    """
    n = isa.lanes

    def body(b: Any, args: list[Any]) -> None:
        (microtile,) = args

        def of(part: str) -> Any:
            return field(b, microtile, MICROTILE, part)

        terms = {part: of(part) for part in EPILOGUE}
        height = b.mul(of("strips"), I64(isa.rows // 2))  # number of rows in a register
        output, output_row_bytes = of("output"), of("output_row_bytes")
        products = b.ptrtoint(b.alloca(ir.ArrayType(ir.VectorType(F32, n), AMX_STRIPS * isa.rows * 2)), I64)
        fetched = of("ahead_bytes")
        for first in range(0, vectors, 2):
            columns = min(2, vectors - first)
            fetched = _multiply(b, name, microtile, (first, columns), height, fetched)
            here = terms | {part: _further(b, terms[part], first * n * 4) for part in _COLUMN_TERMS}
            as_bfloat16 = b.icmp_unsigned("==", terms["mode"], I64(STORE_BF16))
            to = b.select(as_bfloat16, _further(b, output, first * n * 2), _further(b, output, first * n * 4))
            plain, rest, end = (b.append_basic_block(part) for part in ("plain", "rest", "end"))
            anything = reduce(b.or_, here.values(), I64(int(name not in FLOAT_DOTS)))
            b.cbranch(b.icmp_unsigned("==", anything, I64(STORE)), plain, rest)
            b.position_at_end(plain)
            _store(b, isa, columns, height, to, output_row_bytes)
            b.branch(end)
            b.position_at_end(rest)
            _store(b, isa, columns, height, products, I64(columns * n * 4))
            _finish_rows(b, isa, name, (columns, b.mul(height, I64(2))), products, (to, output_row_bytes), here)
            b.branch(end)
            b.position_at_end(end)

    return define(module, isa, f"microkernel.{name}.{vectors}", 1, body)


def _further(b: Any, address: Any, n: int) -> Any:
    """The address plus n bytes; 0 for the address 0."""
    return b.select(b.icmp_unsigned("!=", address, I64(0)), offset(b, address, n), address) if n else address


def _multiply(b: Any, name: str, microtile: Any, vectors: tuple[int, int], height: Any, fetched: Any) -> Any:
    """Multiply with one or two vectors, (first, count). The product of row register i and vector v is tmm 2 * i + v.

    fetched: bytes of AHEAD's that were fetched before. Returns the bytes that were fetched after it.
    """
    first, columns = vectors
    a, row_bytes, steps, ahead, weights = (
        field(b, microtile, MICROTILE, part) for part in ("input", "input_row_bytes", "steps", "ahead", "weights")
    )
    input_bytes_log2, step_bytes, tile_mask, list_bytes, run_steps = (
        field(b, weights, WEIGHTS, word) for word in WEIGHTS.fields or ()
    )
    lists = [
        b.add(offset(b, weights, WEIGHTS.itemsize), b.mul(list_bytes, I64(first + column))) for column in range(columns)
    ]
    run_bytes, run_weight_bytes = b.shl(run_steps, I64(2)), b.mul(run_steps, step_bytes)
    lower = b.add(a, b.mul(row_bytes, height))
    for i in range(2):
        for v in range(columns):
            amx(b, "tilezero", I8(2 * i + v))
    runs = Loop(b, "runs", [I64(0), I64(0), fetched])
    at, within, fetched = runs.values
    fetched = _fetch(b, ahead, fetched)
    for i, address in enumerate((a, lower)):
        amx(b, "tileloadd64", I8(TMM_INPUTS + i), pointer(b, b.add(address, at)), row_bytes)
    entry = b.shl(b.lshr(at, input_bytes_log2), I64(3))
    for v in range(columns):
        base = load(b, b.add(lists[v], entry), I64)
        amx(b, "tileloadd64", I8(TMM_WEIGHTS + v), pointer(b, b.add(base, within)), step_bytes)
        for i in range(2):
            amx(b, INSTRUCTIONS[name], I8(2 * i + v), I8(TMM_INPUTS + i), I8(TMM_WEIGHTS + v))
    at = b.add(at, run_bytes)
    within = b.and_(b.add(within, run_weight_bytes), tile_mask)
    runs.end(b, [at, within, fetched], b.icmp_unsigned("<", at, b.shl(steps, I64(2))))
    return fetched


def _fetch(b: Any, ahead: Any, fetched: Any) -> Any:
    """Prefetch the lines of a run. Returns the bytes that were fetched after it.

    It fetches no more than the next turn needs, because prefetches and loads of registers share a few buffers.
    """
    tile_bytes_log2, tile_mask, end, lines = (field(b, ahead, AHEAD, word) for word in AHEAD.fields or ())
    after = b.add(fetched, b.shl(lines, I64(6)))
    until = b.select(b.icmp_unsigned("<", after, end), after, end)
    before, loop, done = b.block, b.append_basic_block("line"), b.append_basic_block("fetched")
    b.cbranch(b.icmp_unsigned("<", fetched, until), loop, done)
    b.position_at_end(loop)
    at = b.phi(I64)
    at.add_incoming(fetched, before)
    entry = b.shl(b.lshr(at, tile_bytes_log2), I64(3))
    base = load(b, b.add(offset(b, ahead, AHEAD.itemsize), entry), I64)
    prefetch(b, b.add(base, b.and_(at, tile_mask)), 0, 2)
    following = b.add(at, I64(LINE_BYTES))
    at.add_incoming(following, loop)
    b.cbranch(b.icmp_unsigned("<", following, until), loop, done)
    b.position_at_end(done)
    return after


def _store(b: Any, isa: Isa, columns: int, height: Any, to: Any, row_bytes: Any) -> None:
    """Store the sums: vectors side by side, registers of rows one below the other."""
    for i in range(2):
        for v in range(columns):
            place = offset(b, b.add(to, b.mul(b.mul(height, row_bytes), I64(i))), v * isa.lanes * 4)
            amx(b, "tilestored64", I8(2 * i + v), pointer(b, place), row_bytes)


def _finish_rows(
    b: Any, isa: Isa, name: str, size: tuple[int, Any], sums: Any, output: tuple[Any, Any], terms: dict[str, Any]
) -> None:
    """Run the epilogue row by row. size: vectors and rows. sums: their address. output: its address and row_bytes."""
    vectors, rows = size
    n = isa.lanes
    scaled = b.icmp_unsigned("!=", terms["row_scales"], I64(0))
    loop = Loop(b, "row", [I64(0), sums, output[0], terms["row_scales"]])
    row, at, to, scale = loop.values
    kind = ir.VectorType(F32 if name in FLOAT_DOTS else I32, n)
    values = {(0, v): load(b, offset(b, at, v * n * 4), kind) for v in range(vectors)}
    epilogue(b, isa, name, values, [to], terms | {"row_scales": scale})
    row, scale = b.add(row, I64(1)), b.select(scaled, offset(b, scale, row_scale_bytes(name)), I64(0))
    at, to = offset(b, at, vectors * n * 4), b.add(to, output[1])
    loop.end(b, [row, at, to, scale], b.icmp_unsigned("<", row, rows))


def _palette(run_steps: int, rows: int) -> bytes:
    """A configuration of palette 1: the bytes of a row, and the number of rows, for each register."""
    sums, inputs, weights = (64, rows), (4 * run_steps, rows), (64, run_steps)
    widths, heights = zip(*[sums] * 4, *[inputs] * 2, *[weights] * 2, strict=True)
    head = bytes([1]) + bytes(15)
    return head + b"".join(w.to_bytes(2, "little") for w in widths) + bytes(16) + bytes(heights) + bytes(8)
