"""LLVM IR that rearranges: weights into panels of the type that a dot multiplies, keys and values for attention."""

from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import EXPAND, F32, I16, I32, I64, UNROLL, define, load, offset, store
from hydrart.codegen.isa import Isa


def transpose(module: Any, isa: Isa) -> Any:
    """lanes x lanes float32: arguments source, its row stride (bytes), target, its row stride (bytes)."""
    n = isa.lanes

    def body(b: Any, args: list[Any]) -> None:
        source, source_stride, target, target_stride = args
        f32 = ir.VectorType(F32, n)
        rows = [load(b, b.add(source, b.mul(source_stride, I64(r))), f32) for r in range(n)]
        half = n // 2
        while half:  # swap the off-diagonal halves of every 2*half x 2*half block
            for r in range(n):
                if r & half:
                    continue
                low = [i if not i & half else n + i - half for i in range(n)]
                high = [i + half if not i & half else n + i for i in range(n)]
                pair = rows[r], rows[r + half]
                for index, mask in ((r, low), (r + half, high)):
                    rows[index] = b.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, n), mask))
            half //= 2
        for r in range(n):
            store(b, rows[r], b.add(target, b.mul(target_stride, I64(r))))

    return define(module, isa, "transpose", 4, body)


def unpack(module: Any, isa: Isa, conversion: str, vectors: int) -> Any:
    """Rows of 32-bit lanes into rows of a panel, in the type that a dot multiplies.

    Arguments: source, its row stride (bytes), rows (a multiple of UNROLL), target. `vectors` are taken of each row.
    conversion: "pairs", two rows interleaved lane by lane; "bf16-fp32", two rows each; "int8-fp32", four.
    """
    n = isa.lanes
    i32, f32 = ir.VectorType(I32, n), ir.VectorType(F32, n)

    def constant(value: int) -> Any:
        return ir.Constant(i32, [value] * n)

    def converted(b: Any, words: Any) -> list[Any]:
        match conversion:
            case "bf16-fp32":  # a bfloat16 is the upper half of a float32
                return [b.shl(words, constant(16)), b.and_(words, constant(0xFFFF0000))]
            case "int8-fp32":
                return [b.sitofp(_byte(b, words, index), f32) for index in range(4)]
        raise AssertionError(conversion)

    def body(b: Any, args: list[Any]) -> None:
        source, stride, rows, target = args
        before, loop, after = b.block, b.append_basic_block("rows"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        row, x, y = b.phi(I64), b.phi(I64), b.phi(I64)
        for phi, value in ((row, I64(0)), (x, source), (y, target)):
            phi.add_incoming(value, before)
        at, to = x, y
        for _ in range(UNROLL // 2 if conversion == "pairs" else UNROLL):
            if conversion == "pairs":
                upper = at
                at = b.add(at, stride)
                _interleave(b, isa, vectors, upper, at, to)
                to = offset(b, to, isa.columns * 4)
            else:
                for v in range(vectors):
                    for i, values in enumerate(converted(b, load(b, offset(b, at, v * n * 4), i32))):
                        store(b, values, offset(b, to, i * isa.columns * 4 + v * n * 4))
            at = b.add(at, stride)
            to = offset(b, to, isa.columns * 4 * EXPAND[conversion])
        following = b.add(row, I64(UNROLL))
        for phi, value in ((row, following), (x, at), (y, to)):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_unsigned("<", following, rows), loop, after)
        b.position_at_end(after)

    return define(module, isa, f"unpack.{conversion}.{vectors}", 4, body)


def _interleave(b: Any, isa: Isa, vectors: int, upper: Any, lower: Any, target: Any) -> None:
    """Two rows of 32-bit lanes, lane by lane."""
    n = isa.lanes
    for v in range(vectors):
        both = [load(b, offset(b, row, v * n * 4), ir.VectorType(I32, n)) for row in (upper, lower)]
        for half in range(2):
            mask = [source + half * n // 2 + i for i in range(n // 2) for source in (0, n)]
            mixed = b.shuffle_vector(*both, ir.Constant(ir.VectorType(I32, n), mask))
            store(b, mixed, offset(b, target, (2 * v + half) * n * 4))


def tile_sums(module: Any, isa: Isa) -> Any:
    """Adds int8 in 32-bit lanes, one vector wide: arguments source, its row stride (bytes), rows, sums (int32)."""
    i32 = ir.VectorType(I32, isa.lanes)

    def body(b: Any, args: list[Any]) -> None:
        source, stride, rows, target = args
        before, loop, after = b.block, b.append_basic_block("rows"), b.append_basic_block("after")
        start = load(b, target, i32)
        b.branch(loop)
        b.position_at_end(loop)
        row, at, total = b.phi(I64), b.phi(I64), b.phi(i32)
        for phi, value in ((row, I64(0)), (at, source), (total, start)):
            phi.add_incoming(value, before)
        words, summed = load(b, at, i32), total
        for index in range(4):
            summed = b.add(summed, _byte(b, words, index))
        following = b.add(row, I64(1))
        for phi, value in ((row, following), (at, b.add(at, stride)), (total, summed)):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_unsigned("<", following, rows), loop, after)
        b.position_at_end(after)
        store(b, summed, target)

    return define(module, isa, "tile_sums", 4, body)


def pair_rows(module: Any, isa: Isa) -> Any:
    """Two rows of bfloat16, one vector wide, side by side in 32-bit lanes: arguments first, second, target."""
    i16, i32 = ir.VectorType(I16, isa.lanes), ir.VectorType(I32, isa.lanes)

    def body(b: Any, args: list[Any]) -> None:
        first, second, target = args
        low, high = (b.zext(load(b, row, i16), i32) for row in (first, second))
        store(b, b.or_(low, b.shl(high, ir.Constant(i32, [16] * isa.lanes))), target)

    return define(module, isa, "pair_rows", 3, body)


def _byte(b: Any, words: Any, index: int) -> Any:
    """One of the four int8 of each lane, as int32."""

    def shift(bits: int) -> Any:
        return ir.Constant(words.type, [bits] * words.type.count)

    return b.ashr(b.shl(words, shift(24 - 8 * index)), shift(24))
