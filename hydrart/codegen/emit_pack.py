"""LLVM IR that rearranges numbers without rounding: weights into panels, keys and values for attention."""

from typing import Any

from llvmlite import ir

from hydrart.codegen.emit import EXPAND, F32, I16, I32, I64, UNROLL, Loop, define, load, offset, store
from hydrart.codegen.isa import Isa


def transpose(module: Any, isa: Isa) -> Any:
    """Transpose lanes x lanes float32. Arguments: source, source_row_bytes, target, target_row_bytes."""
    n = isa.lanes

    def body(b: Any, args: list[Any]) -> None:
        source, source_row_bytes, target, target_row_bytes = args
        f32 = ir.VectorType(F32, n)
        rows = [load(b, b.add(source, b.mul(source_row_bytes, I64(r))), f32) for r in range(n)]
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
            store(b, rows[r], b.add(target, b.mul(target_row_bytes, I64(r))))

    return define(module, isa, "transpose", 4, body)


def unpack(module: Any, isa: Isa, conversion: str, vectors: int) -> Any:
    """Turn rows of stored lanes into steps of a panel, in the type that a dot multiplies.

    Arguments: source, source_row_bytes, rows (a multiple of UNROLL), target. vectors: the number taken from each row.
    conversion: "pairs" interleaves two rows lane by lane, "bf16-fp32" makes two steps of each row, "int8-fp32" four.
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
        source, row_bytes, rows, target = args
        loop = Loop(b, "rows", [I64(0), source, target])
        row, at, to = loop.values
        for _ in range(UNROLL // 2 if conversion == "pairs" else UNROLL):
            if conversion == "pairs":
                upper = at
                at = b.add(at, row_bytes)
                _interleave(b, isa, vectors, upper, at, to)
                to = offset(b, to, isa.columns * 4)
            else:
                for v in range(vectors):
                    for i, values in enumerate(converted(b, load(b, offset(b, at, v * n * 4), i32))):
                        store(b, values, offset(b, to, i * isa.columns * 4 + v * n * 4))
            at = b.add(at, row_bytes)
            to = offset(b, to, isa.columns * 4 * EXPAND[conversion])
        row = b.add(row, I64(UNROLL))
        loop.end(b, [row, at, to], b.icmp_unsigned("<", row, rows))

    return define(module, isa, f"unpack.{conversion}.{vectors}", 4, body)


def _interleave(b: Any, isa: Isa, vectors: int, upper: Any, lower: Any, target: Any) -> None:
    """Interleave two rows of 32-bit lanes."""
    n = isa.lanes
    for v in range(vectors):
        both = [load(b, offset(b, row, v * n * 4), ir.VectorType(I32, n)) for row in (upper, lower)]
        for half in range(2):
            mask = [source + half * n // 2 + i for i in range(n // 2) for source in (0, n)]
            mixed = b.shuffle_vector(*both, ir.Constant(ir.VectorType(I32, n), mask))
            store(b, mixed, offset(b, target, (2 * v + half) * n * 4))


def tile_sums(module: Any, isa: Isa) -> Any:
    """Add the int8 of each lane, over the rows of one vector, to int32 sums. Arguments: source, row_bytes, rows, sums.

    It is exact for up to 2^24 bytes in a sum.
    """
    i32 = ir.VectorType(I32, isa.lanes)

    def body(b: Any, args: list[Any]) -> None:
        source, row_bytes, rows, sums = args
        loop = Loop(b, "rows", [I64(0), source, load(b, sums, i32)])
        row, at, summed = loop.values
        words = load(b, at, i32)
        for index in range(4):
            summed = b.add(summed, _byte(b, words, index))
        row = b.add(row, I64(1))
        loop.end(b, [row, b.add(at, row_bytes), summed], b.icmp_unsigned("<", row, rows))
        store(b, summed, sums)

    return define(module, isa, "tile_sums", 4, body)


def pair_rows(module: Any, isa: Isa) -> Any:
    """Interleave two rows of bfloat16, with one number of each per lane. Arguments: first, second, target."""
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
