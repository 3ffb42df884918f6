"""Emit LLVM IR of functions, loops, loads, stores and dots, for any instruction set of isa.py. All emitters use it.

Each function is emitted once into a module and is not inlined. It names its own CPU features ("target-features"). So
it depends neither on the CPU that Numba assumes nor on NUMBA_CPU_NAME.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from hydrart.codegen.isa import ARM, X86, Isa
from hydrart.codegen.records import offset_of

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()
VOID = ir.VoidType()

# conversion of stored lanes (emit_pack.unpack) -> steps of a dot for each stored row
EXPAND = {None: 1, "pairs": 1, "bf16-fp32": 2, "int8-fp32": 4}
UNROLL = 4  # steps of a dot in each turn of its loop; the steps of every tile are a multiple of it


class _Bfloat(ir.types._BaseFloatType):
    """LLVM's type bfloat, which llvmlite lacks."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


_Bfloat._create_instance()

# architecture, lanes -> the constraint for vector registers in LLVM's inline assembly
_VECTOR_REGISTERS = {(X86, 8): "x", (X86, 16): "v", (ARM, 4): "w"}


class _TargetAttributes(ir.values.FunctionAttributes):
    def __init__(self, features: str) -> None:
        super().__init__(("noinline", "nounwind"))
        self._features = features

    def _to_list(self, typ: Any) -> list[str]:
        return [*super()._to_list(typ), f'"target-features"="{self._features}"', '"min-legal-vector-width"="512"']


def define(module: Any, isa: Isa, name: str, args: int, body: Callable[[Any, list[Any]], None]) -> Any:
    """Define the function void name(i64, ...) in the module. args: number of arguments.

    body(builder, arguments) emits its code.
    """
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
    """Declare an LLVM intrinsic or a function of the C library."""
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, args), name)


def load(b: Any, address: Any, kind: Any) -> Any:
    """Load a value of this type from the address, which is aligned to 4 bytes."""
    value = b.load(b.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def store(b: Any, value: Any, address: Any) -> None:
    """Store the value at the address, which is aligned to 4 bytes."""
    b.store(value, b.inttoptr(address, value.type.as_pointer())).align = 4


def offset(b: Any, address: Any, n: int) -> Any:
    """The address plus n bytes."""
    return b.add(address, I64(n)) if n else address


def field(b: Any, record: Any, kind: np.dtype[np.void], name: str) -> Any:
    """Load the integer of this name from the record (records.py) at this address."""
    return load(b, offset(b, record, offset_of(kind, name)), I64)


class Loop:
    """A loop whose condition is tested at the end of each turn.

    values: the values that change from turn to turn, at the beginning of a turn.
    """

    def __init__(self, b: Any, name: str, start: list[Any]) -> None:
        """Begin the loop. All code emitted from now on is its body. start: the values of the first turn."""
        before, self._block = b.block, b.append_basic_block(name)
        b.branch(self._block)
        b.position_at_end(self._block)
        self.values = [b.phi(value.type) for value in start]
        for phi, value in zip(self.values, start, strict=True):
            phi.add_incoming(value, before)

    def end(self, b: Any, values: list[Any], again: Any) -> None:
        """End the loop. values: those of the next turn. again: whether there is one. Later code follows the loop."""
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, b.block)
        after = b.append_basic_block(f"{self._block.name}.end")
        b.cbranch(again, self._block, after)
        b.position_at_end(after)


def splat(b: Any, scalar: Any, lanes: int) -> Any:
    """A vector with the scalar in all its lanes."""
    kind = ir.VectorType(scalar.type, lanes)
    return lane(b, b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0)), 0, lanes)


def lane(b: Any, vector: Any, index: int, lanes: int) -> Any:
    """A vector with one lane of another in all its lanes."""
    return b.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [index] * lanes)
    )


def prefetch(b: Any, address: Any, write: int, locality: int) -> None:
    """Fetch a cache line, to be written (1) or read (0), into the first (locality 3) or the second-level cache (2)."""
    function = declare(b.module, "llvm.prefetch.p0", VOID, [I8.as_pointer(), I32, I32, I32])
    b.call(function, [b.inttoptr(address, I8.as_pointer()), I32(write), I32(locality), I32(1)])


def pinned(b: Any, isa: Isa, value: Any) -> Any:
    """The same value, which LLVM takes for a new one computed here. It costs no instruction."""
    register = "r" if value.type == I64 else _VECTOR_REGISTERS[isa.architecture, isa.lanes]
    return b.asm(ir.FunctionType(value.type, [value.type]), "", f"={register},0", [value], True)


def dot(b: Any, isa: Isa, name: str, acc: Any, a: Any, weight: Any) -> Any:
    """acc + a * weight for vectors of 32-bit lanes. name: the dot (isa.py)."""
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
            fours = call(f"llvm.x86.{'avx2.pmadd.wd' if n == 8 else 'avx512.pmaddw.d.512'}", i32, pairs, ones)
            # unpinned, LLVM would add many of them later and keep them on the stack until then
            return b.add(acc, pinned(b, isa, fours))
        case "vnni":
            return call(f"llvm.x86.avx512.vpdpbusd.{32 * n}", i32, acc, *as_type(I8, 4 * n))
        case "sdot":  # LLVM takes a lane ("by element") only as the second factor
            value, weights = as_type(I8, 16)
            return call("llvm.aarch64.neon.sdot.v4i32.v16i8", i32, acc, weights, value)
        case "smmla":
            return call("llvm.aarch64.neon.smmla.v4i32.v16i8", i32, acc, *as_type(I8, 16))
        case "bfmmla":
            return call("llvm.aarch64.neon.bfmmla", f32, acc, *as_type(_Bfloat(), 8))
    raise AssertionError(name)


def bfloat16(b: Any, value: Any) -> Any:
    """Round a vector of 16 float32 to bfloat16, to nearest, ties to even (Isa.rounds_bf16)."""
    kind = ir.VectorType(_Bfloat(), 16)
    return b.call(declare(b.module, "llvm.x86.avx512bf16.cvtneps2bf16.512", kind, [value.type]), [value])


def halves(b: Any, first: Any, second: Any, upper: int) -> Any:
    """The lower (0) or the upper (1) halves of two vectors of four."""
    lanes = [2 * upper, 2 * upper + 1, 2 * upper + 4, 2 * upper + 5]
    return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, 4), lanes))
