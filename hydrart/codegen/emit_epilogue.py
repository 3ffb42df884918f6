"""LLVM IR of the epilogue: the operations on the sums of a microtile before they are stored."""

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import F32, I64, bfloat16, load, offset, splat, store
from hydrart.codegen.isa import FLOAT_DOTS, Isa
from hydrart.codegen.records import ADD, STORE_BF16

# fields of a MICROTILE record that the epilogue reads
EPILOGUE = ("mode", "bias", "gamma", "row_scales", "column_scales", "column_sums")


def row_scale_bytes(name: str) -> int:
    """Bytes from one row's scales to the next. Floats have a factor, integers a step and the value of q = 0."""
    return 4 if name in FLOAT_DOTS else 8


def epilogue(
    b: Any, isa: Isa, name: str, sums: dict[tuple[int, int], Any], outputs: list[Any], terms: dict[str, Any]
) -> None:
    """Scale the sums of a dot and store them.

    - sums: vectors by row and vector of columns.
    - outputs: the addresses of the rows.
    - terms: the fields EPILOGUE.

    It computes in float32, in this order. The activations of integers are low + step * q.

        integers    C = (((sum * step + low * column_sum) * column_scale) + bias) * gamma (+ C)
        floats      C = (((sum * row_scale) * column_scale) + bias) * gamma (+ C)

    A term whose address is 0 is left out. Integer sums become float32 first, rounded to nearest.
    """
    n, f32 = isa.lanes, ir.VectorType(F32, isa.lanes)
    floating, places = name in FLOAT_DOTS, list(sums)
    values = [value if floating else b.sitofp(value, f32) for value in sums.values()]
    rows, vectors = range(len(outputs)), range(1 + max(v for _, v in places))

    def of_columns(address: Any) -> list[Any]:
        return [load(b, offset(b, address, v * n * 4), f32) for v in vectors]

    def of_rows(at: int) -> list[Any]:
        stride = row_scale_bytes(name)
        return [splat(b, load(b, offset(b, terms["row_scales"], r * stride + at), F32), n) for r in rows]

    def by_row() -> list[Any]:
        factors = of_rows(0)
        return [b.fmul(value, factors[r]) for value, (r, _) in zip(values, places, strict=True)]

    def with_column_sums() -> list[Any]:
        column_sums, lows = of_columns(terms["column_sums"]), of_rows(4)
        return [b.fadd(value, b.fmul(lows[r], column_sums[v])) for value, (r, v) in zip(values, places, strict=True)]

    values = _where(b, terms["row_scales"], by_row, values)
    if not floating:
        values = _where(b, terms["column_sums"], with_column_sums, values)

    def by_column(term: str, operation: Any) -> list[Any]:
        factors = of_columns(terms[term])
        return [operation(value, factors[v]) for value, (_, v) in zip(values, places, strict=True)]

    for term, operation in (("column_scales", b.fmul), ("bias", b.fadd), ("gamma", b.fmul)):
        values = _where(b, terms[term], partial(by_column, term, operation), values)
    wide = [offset(b, outputs[r], v * n * 4) for r, v in places]
    adds = b.zext(b.icmp_unsigned("==", terms["mode"], I64(ADD)), I64)
    values = _where(b, adds, lambda: [b.fadd(v, load(b, at, f32)) for v, at in zip(values, wide, strict=True)], values)
    if isa.rounds_bf16:
        as_float32, as_bfloat16, end = (b.append_basic_block(part) for part in ("float32", "bfloat16", "end"))
        b.cbranch(b.icmp_unsigned("==", terms["mode"], I64(STORE_BF16)), as_bfloat16, as_float32)
        b.position_at_end(as_bfloat16)
        for value, (r, v) in zip(values, places, strict=True):
            store(b, bfloat16(b, value), offset(b, outputs[r], v * n * 2))
        b.branch(end)
        b.position_at_end(as_float32)
    for value, address in zip(values, wide, strict=True):
        store(b, value, address)
    if isa.rounds_bf16:
        b.branch(end)
        b.position_at_end(end)


def _where(b: Any, condition: Any, compute: Callable[[], list[Any]], otherwise: list[Any]) -> list[Any]:
    """The values of compute(), in a branch of its own, if the i64 is not 0; otherwise those of `otherwise`."""
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
