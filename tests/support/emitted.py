"""The emitted functions of an instruction set, as machine code for tests to read and call."""

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from hydrart.codegen import emit, emit_pack, emit_rows, isa
from hydrart.codegen.emit_amx import amx_microkernel, configure, release
from hydrart.codegen.emit_microkernel import microkernel
from hydrart.codegen.isa import ACTIVATIONS, AMX_DOTS, ISAS, Isa
from tools.mca import optimised, target_machine, triple

Array = NDArray[Any]

SPILL = r"%[xyz]mm.*\(%rsp\)|\(%rsp\).*%[xyz]mm|\b[qv]\d+\b.*\[sp"
DOTS = [(i, dot) for i in ISAS for dot in dict.fromkeys(i.dot(precision) for precision in ("fp32", "bf16", "int8"))]
MICROTILES = [(i, dot, vectors) for i, dot in DOTS for vectors in range(1, i.vectors + 1)]
CONVERSIONS = [(i, name, wide) for i, name, wide in product(ISAS, filter(None, emit.EXPAND), (True, False))]
HERE = [i for i in ISAS if isa.host_features().issuperset(i.needs)]


def quantise_name(i: Isa) -> str:
    """Return the name of the function that quantises activations for an instruction set's int8 dot."""
    low, high = ACTIVATIONS[i.int8]
    return f"quantise.{low}.{high}"


def named(value: Any) -> str | None:
    """Return an instruction set's name for a test's id."""
    return value.name if isinstance(value, Isa) else None


@cache
def module(i: Isa) -> Any:
    """Return all functions of an instruction set, after LLVM's passes."""
    out = ir.Module()
    functions = [
        (amx_microkernel if dot in AMX_DOTS else microkernel)(out, i, dot, vectors)
        for own, dot, vectors in MICROTILES
        if own is i
    ]
    functions += [
        emit_pack.unpack(out, i, name, i.vectors if wide else 1) for own, name, wide in CONVERSIONS if own is i
    ]
    functions += [configure(out, i), release(out, i)] if i.amx else []
    functions += [emit_pack.transpose(out, i), emit_pack.tile_sums(out, i), emit_pack.pair_rows(out, i)]
    functions += [emit_rows.gelu(out, i), emit_rows.softmax(out, i)]
    if i.rounds_bf16:
        functions.append(emit_rows.softmax(out, i, short=True))
    if i.int8 in ACTIVATIONS:
        functions.append(emit_rows.quantise(out, i, *ACTIVATIONS[i.int8]))
    for each in functions:
        each.linkage = ""  # LLVM would drop a function without callers
    return optimised(out, i)


@cache
def assembly(i: Isa) -> str:
    """Return the assembly of the module as text."""
    return str(target_machine(triple(i), "").emit_assembly(module(i)))


def _compiled(i: Isa, code: Any) -> Any:
    """Return a compiler with the machine code of an optimised module."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple(i)).create_target_machine(opt=3, jit=True)
    compiler = llvm.create_mcjit_compiler(code, machine)
    compiler.finalize_object()
    return compiler


@cache
def _engine(i: Isa) -> Any:
    return _compiled(i, module(i).clone())


def _callable(compiler: Any, i: Isa, name: str, args: int) -> Callable[..., None]:
    address = compiler.get_function_address(f"hydrart.{i.name}.{name}")
    assert address
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * args)(address)
    return lambda *values: call(*(int(v.ctypes.data) if isinstance(v, np.ndarray) else int(v) for v in values))


def function(i: Isa, name: str, args: int) -> Callable[..., None]:
    """Return an emitted function. Its arguments are arrays, addresses and numbers."""
    return _callable(_engine(i), i, name, args)


def written(i: Isa, args: int, body: Callable[[Any, list[Any]], None]) -> Callable[..., None]:
    """Compile the function that body(builder, arguments) emits. Its arguments are arrays, addresses and numbers."""
    out = ir.Module()
    emit.define(out, i, "test", args, body).linkage = ""
    compiler = _compiled(i, optimised(out, i))
    run = _callable(compiler, i, "test", args)
    run.compiler = compiler  # type: ignore[attr-defined] # the code lives only as long as its compiler
    return run


def random_bf16(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return random bfloat16: the values as float32, and their bits as uint16."""
    bits = (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32), bits


def from_bf16(bits: Array) -> Array:
    """Convert the bits of bfloat16 to float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
