"""Functions that plain Numba lacks: the emitted inner loops, addresses, atomic operations, waiting for threads."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from hydrart.codegen import emit, emit_amx, emit_microkernel, emit_pack, emit_rows, isa
from hydrart.codegen.emit import F32, I32, I64
from hydrart.codegen.isa import ARM, X86

ISA = isa.choose()

_SYS_FUTEX = {X86: 202, ARM: 98}[ISA.architecture]  # the number of the system call futex(2)
_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # the private operations, for threads of one process
_CLOCK_MONOTONIC = 1
# LLVM's intrinsic that marks a waiting loop, and its arguments
_PAUSE = {X86: ("llvm.x86.sse2.pause", []), ARM: ("llvm.aarch64.hint", [I32(1)])}[ISA.architecture]


def _wrap(args: int, generate: Callable[[Any], Any]) -> Any:
    """A Numba function of `args` int64 that calls the function emitted by generate(module), or does nothing."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if function := generate(builder.module):
            builder.call(function, values)
        return context.get_dummy_value()

    signature = types.void(*[types.int64] * args)
    names = ", ".join(f"a{i}" for i in range(args))
    scope = {"answer": (signature, codegen)}
    exec(f"def function(typingctx, {names}):\n    return answer", scope)  # because intrinsics take no *args
    return intrinsic(scope["function"])


def _microkernel(precision: str) -> Any:
    """The microkernel for weights of this precision. Its argument is the address of a MICROTILE record."""
    return _wrap(1, lambda module: emit_microkernel.microkernels(module, ISA, ISA.dot(precision)))


microkernel_fp32, microkernel_bf16, microkernel_int8 = map(_microkernel, ("fp32", "bf16", "int8"))
# called before and after products on AMX; they do nothing elsewhere
configure = _wrap(2, lambda module: ISA.amx and emit_amx.configure(module, ISA))
release = _wrap(0, lambda module: ISA.amx and emit_amx.release(module, ISA))


def _unpack(precision: str, vectors: int) -> Any:
    """The function that unpacks weights of this precision. It does nothing where they are multiplied as stored."""
    conversion = ISA.conversion(precision)
    return _wrap(4, lambda module: conversion and emit_pack.unpack(module, ISA, conversion, vectors))


# unpack_* take whole rows of a microtile; for a narrower head, narrow_* take a vector at a time
unpack_bf16, unpack_int8 = (_unpack(precision, ISA.vectors) for precision in ("bf16", "int8"))
narrow_bf16, narrow_int8 = (_unpack(precision, 1) for precision in ("bf16", "int8"))
tile_sums = _wrap(4, lambda module: emit_pack.tile_sums(module, ISA))
pair_rows = _wrap(3, lambda module: emit_pack.pair_rows(module, ISA))
transpose = _wrap(4, lambda module: emit_pack.transpose(module, ISA))
gelu = _wrap(2, lambda module: emit_rows.gelu(module, ISA))
softmax = _wrap(4, lambda module: emit_rows.softmax(module, ISA))
softmax_bf16 = _wrap(4, lambda module: emit_rows.softmax(module, ISA, short=ISA.rounds_bf16))
quantise = _wrap(4, lambda module: emit_rows.quantise(module, ISA, *isa.ACTIVATIONS.get(ISA.int8, (0, 255))))


def _pointer_to(element: Any) -> Any:
    def function(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), codegen

    return intrinsic(function)


def record_at(dtype: Any) -> Any:
    """A Numba function that returns the record of this type at an address."""
    record = from_dtype(dtype)

    def function(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(record))

        return record(types.int64), codegen

    return intrinsic(function)


f32_at = _pointer_to(types.float32)
i32_at = _pointer_to(types.int32)
i64_at = _pointer_to(types.int64)
u16_at = _pointer_to(types.uint16)


@intrinsic
def bits(typingctx: Any, value: Any) -> Any:
    """The bits of a float32."""
    return types.uint32(types.float32), lambda context, builder, signature, args: builder.bitcast(args[0], I32)


@intrinsic
def from_bits(typingctx: Any, value: Any) -> Any:
    """The float32 that has these bits."""
    return types.float32(types.uint32), lambda context, builder, signature, args: builder.bitcast(args[0], F32)


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, I32.as_pointer())


@intrinsic
def fetch_add(typingctx: Any, address: Any, n: Any) -> Any:
    """Add to the int32 at the address, atomically. Returns its value before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, args[0]), args[1], "seq_cst")

    return types.int32(types.int64, types.int32), codegen


@intrinsic
def fetch(typingctx: Any, address: Any) -> Any:
    """The int32 at the address, which other threads may write."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, args[0]), "seq_cst", 4)

    return types.int32(types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Mark a waiting loop for the core."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, operands = _PAUSE
        builder.call(emit.declare(builder.module, name, emit.VOID, [each.type for each in operands]), operands)
        return context.get_dummy_value()

    return types.void(), codegen


def _futex(builder: Any, address: Any, operation: int, value: Any) -> Any:
    syscall = emit.declare(builder.module, "syscall", I64, [I64] * 7)
    zero = I64(0)
    return builder.call(syscall, [I64(_SYS_FUTEX), address, I64(operation), value, zero, zero, zero])


@intrinsic
def futex_wait(typingctx: Any, address: Any, value: Any) -> Any:
    """Sleep while the int32 at the address has this value (futex(2))."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _futex(builder, args[0], _FUTEX_WAIT, builder.sext(args[1], I64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int32), codegen


@intrinsic
def futex_wake(typingctx: Any, address: Any) -> Any:
    """Wake every thread that sleeps on the int32 at the address (futex(2))."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _futex(builder, args[0], _FUTEX_WAKE, I64(0x7FFFFFFF))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def monotonic_ns(typingctx: Any) -> Any:
    """Nanoseconds of Linux' monotonic clock (clock_gettime(2)). Python's time.perf_counter() reads the same clock."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        now = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))  # struct timespec: seconds, nanoseconds
        clock = emit.declare(builder.module, "clock_gettime", I32, [I32, now.type])
        builder.call(clock, [I32(_CLOCK_MONOTONIC), now])
        seconds, rest = (builder.load(builder.gep(now, [I32(0), I32(i)])) for i in range(2))
        return builder.add(builder.mul(seconds, I64(10**9)), rest)

    return types.int64(), codegen
