"""LLVM IR of the microkernel, which computes one microtile of sums over all inputs."""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import (
    F32,
    I32,
    I64,
    UNROLL,
    Loop,
    define,
    dot,
    field,
    halves,
    lane,
    load,
    offset,
    pinned,
    prefetch,
    splat,
)
from hydrart.codegen.emit_amx import amx_microkernel
from hydrart.codegen.emit_epilogue import EPILOGUE, epilogue
from hydrart.codegen.isa import AMX_DOTS, ARM, FLOAT_DOTS, MMLA_DOTS, Isa
from hydrart.codegen.records import AHEAD, LINE_BYTES, MICROTILE, WEIGHTS

# x86 has few address registers, but a load adds two of them. Rows 0 to 2 have one register that moves, rows 3 to 5
# another. Both share three that do not move: 0, row_bytes and 2 * row_bytes.
_X86_NEAR_ROWS = 3


def microkernels(module: Any, isa: Isa, name: str) -> Any:
    """Emit the microkernel of a dot for any number of vectors up to Isa.vectors. Argument: a MICROTILE record."""

    def body(b: Any, args: list[Any]) -> None:
        (microtile,) = args
        end = b.append_basic_block("end")
        widest = b.append_basic_block("widest")
        choice = b.switch(field(b, microtile, MICROTILE, "vectors"), widest)
        for vectors in range(1, isa.vectors + 1):
            block = widest if vectors == isa.vectors else b.append_basic_block(f"vectors{vectors}")
            if vectors < isa.vectors:
                choice.add_case(I64(vectors), block)
            b.position_at_end(block)
            emitted = (amx_microkernel if name in AMX_DOTS else microkernel)(module, isa, name, vectors)
            b.call(emitted, args)
            b.branch(end)
        b.position_at_end(end)

    return define(module, isa, f"microkernel.{name}", 1, body)


def microkernel(module: Any, isa: Isa, name: str, vectors: int) -> Any:
    """Emit the microkernel of one strip of rows by this many vectors. Argument: a MICROTILE record.

    For the dots in MMLA_DOTS, weights hold two steps of a column side by side.
    """
    n = isa.lanes
    kind = ir.VectorType(F32 if name in FLOAT_DOTS else I32, n)
    places = [(r, v) for r in range(isa.rows) for v in range(vectors)]

    def body(b: Any, args: list[Any]) -> None:
        (microtile,) = args

        def of(part: str) -> Any:
            return field(b, microtile, MICROTILE, part)

        a, row_bytes, ahead, weights_at = of("input"), of("input_row_bytes"), of("ahead"), of("weights")
        outputs = [b.add(of("output"), b.mul(of("output_row_bytes"), I64(r))) for r in range(isa.rows)]
        for address in outputs:
            for byte in range(0, vectors * n * 4, LINE_BYTES):
                prefetch(b, offset(b, address, byte), 1, 3)
        input_bytes_log2, step_bytes, tile_mask, list_bytes, run_steps = (
            field(b, weights_at, WEIGHTS, word) for word in WEIGHTS.fields or ()
        )
        lists = [b.add(offset(b, weights_at, WEIGHTS.itemsize), b.mul(list_bytes, I64(v))) for v in range(vectors)]
        ahead_log2, ahead_mask = field(b, ahead, AHEAD, "tile_bytes_log2"), field(b, ahead, AHEAD, "tile_mask")
        line_bytes = b.mul(field(b, ahead, AHEAD, "lines"), I64(LINE_BYTES))
        run_bytes = b.shl(run_steps, I64(2))  # bytes of a run in an input row
        run_ahead_bytes = b.mul(b.udiv(run_steps, I64(UNROLL)), line_bytes)
        run_weight_bytes = b.mul(run_steps, step_bytes)
        rows = _Rows.of_strip(b, isa, a, row_bytes)
        end_bytes = b.shl(of("steps"), I64(2))  # bytes of all steps in an input row

        zero = ir.Constant(kind, None)
        runs = Loop(b, "runs", [I64(0), I64(0), of("ahead_bytes"), *[zero] * len(places)])
        i, within, fetched, *totals = runs.values
        entry = b.shl(b.lshr(i, input_bytes_log2), I64(3))
        bases = [b.add(load(b, b.add(each, entry), I64), within) for each in lists]
        entry = b.shl(b.lshr(fetched, ahead_log2), I64(3))
        line = b.add(load(b, b.add(offset(b, ahead, AHEAD.itemsize), entry), I64), b.and_(fetched, ahead_mask))
        moving = [b.add(address, i) for address in rows.moving]
        end = b.add(moving[0], run_bytes)

        turns = Loop(b, "turns", [I64(0), line, *moving, *totals])
        at, line, *rest = turns.values
        rows = _Rows(rest[: len(moving)], rows.still)
        sums = dict(zip(places, rest[len(moving) :], strict=True))
        prefetch(b, line, 0, 2)
        emit_steps = _mmla_steps if name in MMLA_DOTS else _steps
        at = emit_steps(b, isa, name, sums, rows, _Weights(bases, at, step_bytes))
        moving = [b.add(address, I64(4 * UNROLL)) for address in rows.moving]
        again = b.icmp_unsigned("<", moving[0], end)
        turns.end(b, [at, b.add(line, line_bytes), *moving, *sums.values()], again)

        i = b.add(i, run_bytes)
        within, fetched = b.and_(b.add(within, run_weight_bytes), tile_mask), b.add(fetched, run_ahead_bytes)
        runs.end(b, [i, within, fetched, *sums.values()], b.icmp_unsigned("<", i, end_bytes))
        if name in MMLA_DOTS:
            sums = {(r, v): halves(b, sums[r & ~1, v], sums[r | 1, v], r & 1) for r, v in places}
        epilogue(b, isa, name, sums, outputs, {part: of(part) for part in EPILOGUE})

    return define(module, isa, f"microkernel.{name}.{vectors}", 1, body)


_Sums = dict[tuple[int, int], Any]  # row, vector -> sum


@dataclass
class _Rows:
    """The addresses of a strip's rows. Each is a base that moves along the inputs plus an offset that does not move."""

    moving: list[Any]
    still: list[Any]

    @classmethod
    def of_strip(cls, b: Any, isa: Isa, first: Any, row_bytes: Any) -> "_Rows":
        if isa.architecture == ARM:  # it has registers for all rows; an index moves
            return cls([I64(0)], [b.add(first, b.mul(row_bytes, I64(r))) for r in range(isa.rows)])
        still = [b.mul(row_bytes, I64(r)) for r in range(_X86_NEAR_ROWS)]
        return cls([b.add(first, b.mul(row_bytes, I64(r))) for r in range(0, isa.rows, _X86_NEAR_ROWS)], still)

    def address(self, b: Any, row: int) -> Any:
        return b.add(self.moving[row // len(self.still)], self.still[row % len(self.still)])

    def pin(self, b: Any, isa: Isa, row: int) -> None:
        """Keep LLVM from computing the row's address before this point."""
        index = row // len(self.still)
        self.moving[index] = pinned(b, isa, self.moving[index])


@dataclass
class _Weights:
    """The addresses of the weights. bases: one per vector; the current step is `at` bytes further."""

    bases: list[Any]
    at: Any
    step_bytes: Any


def _steps(b: Any, isa: Isa, name: str, sums: _Sums, rows: _Rows, weights: _Weights) -> Any:
    """Add UNROLL steps to the sums. Returns the bytes from the bases to the next step.

    Without pinned values LLVM would load the operands of all steps first, and there are too few registers for them.
    """
    at, kind = weights.at, ir.VectorType(I32, isa.lanes)
    quads = _quads(b, isa, rows) if isa.architecture == ARM else []
    for u in range(UNROLL):
        at = pinned(b, isa, at)
        loaded = [load(b, b.add(base, at), kind) for base in weights.bases]
        at = b.add(at, weights.step_bytes)
        for r in range(isa.rows):
            if isa.architecture == ARM:  # the second factor of fmla and sdot may be a lane of a register
                value = lane(b, quads[r], u, isa.lanes)
            else:  # x86 broadcasts from memory
                rows.pin(b, isa, r)
                value = splat(b, load(b, offset(b, rows.address(b, r), 4 * u), I32), isa.lanes)
            for v, weight in enumerate(loaded):
                sums[r, v] = pinned(b, isa, dot(b, isa, name, sums[r, v], value, weight))
    return at


def _mmla_steps(b: Any, isa: Isa, name: str, sums: _Sums, rows: _Rows, weights: _Weights) -> Any:
    """Like _steps(), for dots of 2 x 2.

    Each of sums[2 * i + j, v] holds two rows, from row 2 * i on, by two columns, from column 4 * v + 2 * j on.
    """
    quads, two_steps = _quads(b, isa, rows), b.shl(weights.step_bytes, I64(1))
    addresses = [b.add(base, weights.at) for base in weights.bases]
    for pair in range(UNROLL // 2):
        values = [halves(b, quads[r], quads[r + 1], pair) for r in range(0, isa.rows, 2)]
        for v, address in enumerate(addresses):
            for j in range(2):
                place = offset(b, b.add(address, two_steps) if pair else address, j * 16)
                weight = load(b, place, ir.VectorType(I32, isa.lanes))
                for i, value in enumerate(values):
                    sums[2 * i + j, v] = dot(b, isa, name, sums[2 * i + j, v], value, weight)
    return b.add(weights.at, b.shl(weights.step_bytes, I64(2)))


def _quads(b: Any, isa: Isa, rows: _Rows) -> list[Any]:
    """Load UNROLL lanes of every row, one register per row."""
    return [load(b, rows.address(b, r), ir.VectorType(I32, UNROLL)) for r in range(isa.rows)]
