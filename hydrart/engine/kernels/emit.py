"""LLVM IR of the inner loops, for any instruction set of isa.py. Everything around them is plain Numba.

Each function is emitted once into a module, with its own "target-features": it depends neither on what Numba takes
the CPU for nor on NUMBA_CPU_NAME, and is not inlined.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from hydrart.engine.kernels.isa import BLOCK_DOTS, Isa

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()
VOID = ir.VoidType()

# conversion of stored lanes -> rows of a panel for each stored row
EXPAND = {"copy": 1, "pairs": 1, "bf16-fp32": 2, "int8-fp32": 4}
UNROLL = 4  # steps of a dot per turn of its loop: head_dim / per is always a multiple


class _Bfloat(ir.types._BaseFloatType):
    """llvmlite has no bfloat."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def format_constant(self, value: float) -> str:
        raise NotImplementedError


_Bfloat._create_instance()


class _TargetAttributes(ir.values.FunctionAttributes):
    def __init__(self, features: str) -> None:
        super().__init__(("noinline", "nounwind"))
        self._features = features

    def _to_list(self, typ: Any) -> list[str]:
        return [*super()._to_list(typ), f'"target-features"="{self._features}"', '"min-legal-vector-width"="512"']


def define(module: Any, isa: Isa, name: str, args: int, body: Callable[[Any, list[Any]], None]) -> Any:
    """The function void name(i64, ...) in the module; body(builder, arguments) fills it where it is new."""
    name = f"hydrart.{isa.name}.{name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * args), name)
    function.linkage = "linkonce_odr"
    function.attributes = _TargetAttributes(",".join(f"+{feature}" for feature in isa.needs))
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    body(builder, list(function.args))
    builder.ret_void()
    return function


def declare(module: Any, name: str, result: Any, args: list[Any]) -> Any:
    """An LLVM intrinsic or a function of the C library."""
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, args), name)


def load(b: Any, address: Any, kind: Any) -> Any:
    value = b.load(b.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def store(b: Any, value: Any, address: Any) -> None:
    b.store(value, b.inttoptr(address, value.type.as_pointer())).align = 4


def offset(b: Any, address: Any, n: int) -> Any:
    return b.add(address, I64(n)) if n else address


def splat(b: Any, scalar: Any, lanes: int) -> Any:
    kind = ir.VectorType(scalar.type, lanes)
    return lane(b, b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0)), 0, lanes)


def lane(b: Any, vector: Any, index: int, lanes: int) -> Any:
    """A vector with one lane of another in all its lanes."""
    return b.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [index] * lanes)
    )


def prefetch(b: Any, address: Any, write: int, locality: int) -> None:
    function = declare(b.module, "llvm.prefetch.p0", VOID, [I8.as_pointer(), I32, I32, I32])
    b.call(function, [b.inttoptr(address, I8.as_pointer()), I32(write), I32(locality), I32(1)])


def dot(b: Any, isa: Isa, name: str, acc: Any, a: Any, weight: Any) -> Any:
    """acc + a * weight, `per` products to a lane; a and weight are vectors of 32-bit lanes."""
    n = isa.lanes
    f32, i32 = ir.VectorType(F32, n), ir.VectorType(I32, n)

    def call(intrinsic: str, result: Any, *values: Any) -> Any:
        return b.call(declare(b.module, intrinsic, result, [v.type for v in values]), values)

    def as_type(element: Any, count: int) -> tuple[Any, Any]:
        kind = ir.VectorType(element, count)
        return b.bitcast(a, kind), b.bitcast(weight, kind)

    match name:
        case "fma":
            return call(f"llvm.fma.v{n}f32", f32, *as_type(F32, n), acc)
        case "dpbf16":
            return call(f"llvm.x86.avx512bf16.dpbf16ps.{32 * n}", f32, acc, *as_type(_Bfloat(), 2 * n))
        case "maddubs":
            i16 = ir.VectorType(I16, 2 * n)
            pairs = call(
                f"llvm.x86.{'avx2.pmadd.ub.sw' if n == 8 else 'avx512.pmaddubs.w.512'}", i16, *as_type(I8, 4 * n)
            )
            ones = ir.Constant(i16, [1] * (2 * n))
            total = b.add(
                acc, call(f"llvm.x86.{'avx2.pmadd.wd' if n == 8 else 'avx512.pmaddw.d.512'}", i32, pairs, ones)
            )
            # LLVM would sum the products of several steps first, which needs more registers than there are
            return b.asm(ir.FunctionType(i32, [i32]), "", "=x,0" if n == 8 else "=v,0", [total], True)
        case "vnni":
            return call(f"llvm.x86.avx512.vpdpbusd.{32 * n}", i32, acc, *as_type(I8, 4 * n))
        case "sdot":  # only a lane of the second factor is folded
            value, weights = as_type(I8, 16)
            return call("llvm.aarch64.neon.sdot.v4i32.v16i8", i32, acc, weights, value)
        case "smmla":
            return call("llvm.aarch64.neon.smmla.v4i32.v16i8", i32, acc, *as_type(I8, 16))
        case "bfmmla":
            return call("llvm.aarch64.neon.bfmmla", f32, acc, *as_type(_Bfloat(), 8))
    raise AssertionError(name)


def gemm_tile(module: Any, isa: Isa, name: str) -> Any:
    """C[rows, columns] = dot over `steps` lanes of A[rows, :] and one packed panel, scaled, plus what is there.

    Arguments, all i64; the addresses after c may be 0 for none:
    a, lda (bytes), panel [steps][columns] of 32-bit lanes (for dots of blocks [steps / 2][columns][2]), steps (a
    multiple of UNROLL), ahead (prefetched, steps * 4 bytes from there on), c (float32), ldc (bytes), add (1: add to
    what C holds), bias [columns], gamma [columns], row_scale, column_scale [columns], column_sums [columns].
    Of integers, row_scale is [rows][step, low], the activations being low + step * q, and
    c = (((sum * step + low * column_sum) * column_scale) + bias) * gamma (+ c);
    of floats, row_scale is [rows], and the terms of low and column_sum are left out.
    """
    floating = name in ("fma", "dpbf16", "bfmmla")
    n = isa.lanes
    f32, i32 = ir.VectorType(F32, n), ir.VectorType(I32, n)
    kind = f32 if floating else i32
    grid = [(r, v) for r in range(isa.rows) for v in range(isa.vectors)]

    def body(b: Any, args: list[Any]) -> None:
        a, lda, panel, steps, ahead, c, ldc, add, bias, gamma, row_scale, column_scale, column_sums = args
        row = [b.add(a, b.mul(lda, I64(r))) for r in range(isa.rows)]
        out = [b.add(c, b.mul(ldc, I64(r))) for r in range(isa.rows)]
        for address in out:
            for byte in range(0, isa.columns * 4, 64):
                prefetch(b, offset(b, address, byte), 1, 3)
        zero = ir.Constant(kind, None)
        before, loop, after = b.block, b.append_basic_block("steps"), b.append_basic_block("write")
        b.branch(loop)
        b.position_at_end(loop)
        i, at = b.phi(I64), b.phi(I64)
        i.add_incoming(I64(0), before)
        at.add_incoming(panel, before)
        phis = {place: b.phi(kind) for place in grid}
        for phi in phis.values():
            phi.add_incoming(zero, before)
        sums: dict[tuple[int, int], Any] = dict(phis)
        prefetch(b, b.add(ahead, i), 0, 2)
        quads = [load(b, b.add(address, i), ir.VectorType(I32, UNROLL)) for address in row] if isa.arm else []
        if name in BLOCK_DOTS:
            _blocks(b, isa, name, sums, quads, at)
        else:
            for u in range(UNROLL):
                weights = [load(b, offset(b, at, (u * isa.vectors + v) * n * 4), i32) for v in range(isa.vectors)]
                for r in range(isa.rows):
                    if isa.arm:  # LLVM folds this lane into fmla and sdot
                        value = lane(b, quads[r], u, n)
                    else:  # a broadcast from memory
                        value = splat(b, load(b, offset(b, b.add(row[r], i), 4 * u), I32), n)
                    for v in range(isa.vectors):
                        sums[r, v] = dot(b, isa, name, sums[r, v], value, weights[v])
        i_next = b.add(i, I64(4 * UNROLL))
        i.add_incoming(i_next, loop)
        at.add_incoming(b.add(at, I64(4 * UNROLL * isa.columns)), loop)
        for place, phi in phis.items():
            phi.add_incoming(sums[place], loop)
        b.cbranch(b.icmp_unsigned("<", i_next, b.shl(steps, I64(2))), loop, after)
        b.position_at_end(after)
        if name in BLOCK_DOTS:
            sums = {(r, v): _halves(b, sums[r & ~1, v], sums[r | 1, v], r & 1) for r, v in grid}
        values = [sums[place] if floating else b.sitofp(sums[place], f32) for place in grid]

        def by_column(address: Any, operation: Any) -> None:
            def apply() -> list[Any]:
                vectors = [load(b, offset(b, address, v * n * 4), f32) for v in range(isa.vectors)]
                return [operation(value, vectors[v]) for value, (_, v) in zip(values, grid, strict=True)]

            values[:] = _or_else(b, address, apply, values)

        def by_row() -> list[Any]:
            pair = 4 if floating else 8
            steps_of = [splat(b, load(b, offset(b, row_scale, r * pair), F32), n) for r in range(isa.rows)]
            scaled = [b.fmul(value, steps_of[r]) for value, (r, _) in zip(values, grid, strict=True)]
            if floating:
                return scaled
            sums_of = [load(b, offset(b, column_sums, v * n * 4), f32) for v in range(isa.vectors)]
            lows = [splat(b, load(b, offset(b, row_scale, r * pair + 4), F32), n) for r in range(isa.rows)]
            return [b.fadd(value, b.fmul(lows[r], sums_of[v])) for value, (r, v) in zip(scaled, grid, strict=True)]

        values[:] = _or_else(b, row_scale, by_row, values)
        by_column(column_scale, b.fmul)
        by_column(bias, b.fadd)
        by_column(gamma, b.fmul)
        places = [offset(b, out[r], v * n * 4) for r, v in grid]
        values[:] = _or_else(
            b, add, lambda: [b.fadd(v, load(b, at, f32)) for v, at in zip(values, places, strict=True)], values
        )
        for value, place in zip(values, places, strict=True):
            store(b, value, place)

    return define(module, isa, f"gemm.{name}", 13, body)


def _blocks(b: Any, isa: Isa, name: str, sums: dict[tuple[int, int], Any], quads: list[Any], at: Any) -> None:
    """UNROLL steps in blocks of 2 x 2: sums[2 * i + j, v] holds rows 2 * i, columns 4 * v + 2 * j, and the next."""
    for pair in range(UNROLL // 2):
        values = [_halves(b, quads[r], quads[r + 1], pair) for r in range(0, isa.rows, 2)]
        for v in range(isa.vectors):
            for j in range(2):
                place = pair * 2 * isa.vectors + 2 * v + j
                weights = load(b, offset(b, at, place * 16), ir.VectorType(I32, isa.lanes))
                for i, value in enumerate(values):
                    sums[2 * i + j, v] = dot(b, isa, name, sums[2 * i + j, v], value, weights)


def _halves(b: Any, first: Any, second: Any, upper: int) -> Any:
    """The lower (0) or the upper (1) halves of two vectors of four."""
    lanes = [2 * upper, 2 * upper + 1, 2 * upper + 4, 2 * upper + 5]
    return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, 4), lanes))


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
    conversion: "copy"; "pairs", two rows interleaved lane by lane; "bf16-fp32", two rows each; "int8-fp32", four.
    """
    n = isa.lanes
    i32, f32 = ir.VectorType(I32, n), ir.VectorType(F32, n)

    def constant(value: int) -> Any:
        return ir.Constant(i32, [value] * n)

    def byte(b: Any, words: Any, index: int) -> Any:
        return b.ashr(b.shl(words, constant(24 - 8 * index)), constant(24))

    def converted(b: Any, words: Any) -> list[Any]:
        match conversion:
            case "copy":
                return [words]
            case "bf16-fp32":  # a bfloat16 is the upper half of a float32
                return [b.shl(words, constant(16)), b.and_(words, constant(0xFFFF0000))]
            case "int8-fp32":
                return [b.sitofp(byte(b, words, index), f32) for index in range(4)]
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


def column_sums(module: Any, isa: Isa) -> Any:
    """The sums of a panel's columns of int8, as float32: arguments panel, steps, target [columns]."""
    n = isa.lanes
    i32, f32 = ir.VectorType(I32, n), ir.VectorType(F32, n)

    def body(b: Any, args: list[Any]) -> None:
        panel, steps, target = args
        ones = ir.Constant(i32, [0x01010101] * n)
        before, loop, after = b.block, b.append_basic_block("steps"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        step, at = b.phi(I64), b.phi(I64)
        step.add_incoming(I64(0), before)
        at.add_incoming(panel, before)
        pair = 2 if isa.int8 in BLOCK_DOTS else 1  # steps that a vector of the panel holds
        phis = [b.phi(i32) for _ in range(pair * isa.vectors)]
        sums = []
        for v, phi in enumerate(phis):
            sums.append(dot(b, isa, isa.int8, phi, ones, load(b, offset(b, at, v * n * 4), i32)))
            phi.add_incoming(ir.Constant(i32, None), before)
            phi.add_incoming(sums[v], loop)
        following = b.add(step, I64(pair))
        step.add_incoming(following, loop)
        at.add_incoming(offset(b, at, pair * isa.columns * 4), loop)
        b.cbranch(b.icmp_unsigned("<", following, steps), loop, after)
        b.position_at_end(after)
        if pair == 2:  # both rows of a block are the same
            sums = [_halves(b, sums[v], sums[v + 1], 0) for v in range(0, len(sums), 2)]
        for v, total in enumerate(sums):
            store(b, b.sitofp(total, f32), offset(b, target, v * n * 4))

    return define(module, isa, "column_sums", 3, body)


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
