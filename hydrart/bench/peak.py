"""Measure how fast this machine can compute at best, and count what the network has to compute.

The peak is the measured speed of the kernels' dot product over registers alone. The measurement has as many independent
sums as a microtile, and as many threads as the network.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from hydrart.codegen import emit, isa
from hydrart.codegen.emit import I8, I32, I64, UNROLL
from hydrart.codegen.emit_amx import INSTRUCTIONS, TMM_INPUTS, TMM_WEIGHTS, amx, configure, pointer
from hydrart.codegen.isa import AMX_DOTS, FLOAT_DOTS, LANE_VALUES, MMLA_DOTS
from hydrart.format.architecture import Architecture
from hydrart.format.merging import Merge
from hydrart.format.roles import FC1, FC2, PROJ, QKV

_TURNS = 1 << 18  # turns of the loop in one timed run, which takes some milliseconds
_WORD = 0x3C003C00  # two bfloat16 or one float32 of 0.008, or four small bytes: no overflow, no denormal number


@dataclass(frozen=True)
class Peak:
    """The measured peak.

    - gops: billions of operations per second, two for each product.
    - dot: the dot of the kernels (codegen/isa.py). isa: their instruction set.
    - threads: how many computed at once.
    """

    gops: float
    dot: str
    isa: str
    threads: int


def measure(precision: str, threads: int = 1, seconds: float = 0.5) -> Peak:
    """The best of many short runs within this time, for weights of this precision. Raises SettingError."""
    target = isa.choose()
    dot = target.dot(precision)
    loop, _ = _compiled(target, dot)
    once = 2 * _products(target, dot) * _TURNS * threads
    until, best = time.perf_counter() + seconds, 0.0
    while time.perf_counter() < until:
        best = max(best, once / _together(loop, threads))
    return Peak(best / 1e9, dot, target.name, threads)


def needed_macs(arch: Architecture, k: int, merge: Merge = 0) -> int:
    """Multiply-accumulates that an answer needs, for one picture with k heads.

    They are fewer than Architecture.macs, because only the class token is classified. In the last block, the other
    tokens need keys and values, but no queries, no attention and nothing after it. merge: as Model.logits takes it. The
    comparisons that choose the tokens to merge are not counted.
    """
    p = arch.width(k)
    *earlier, merged = arch.merges(k, merge) or (0,) * arch.depth
    tokens = arch.tokens(k) - sum(earlier)  # in the last block
    attention, mlp = (
        sum(prod(parameter.shape(k)) for role in roles for parameter in role.parameters(arch, 0)[:1])
        for roles in ((QKV, PROJ), (FC1, FC2))
    )
    keys_and_values = 2 * p * p
    others = (tokens - 1) * (attention - keys_and_values + 2 * tokens * p) + (tokens - merged - 1) * mlp
    return arch.macs(k, merge) - others


def assembly(precision: str) -> str:
    """The assembly of the loop, for a check of its instructions."""
    target = isa.choose()
    return _compiled(target, target.dot(precision))[1]


def _together(loop: Callable[[int, int], None], threads: int) -> float:
    """Seconds that the threads need to run the loop once each, all started together."""
    start = threading.Barrier(threads)
    ends, begins = [0.0] * threads, [0.0] * threads

    def work(index: int) -> None:
        numbers = np.full(4096, _WORD, np.uint32)
        address = numbers.ctypes.data
        start.wait()
        begins[index] = time.perf_counter()
        loop(_TURNS, address)
        ends[index] = time.perf_counter()

    # daemons, because an interrupt of this thread leaves them at the barrier for ever, and Python must still end
    others = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(1, threads)]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    return max(ends) - min(begins)


def _products(target: isa.Isa, dot: str) -> int:
    """Number of products in one turn of the loop."""
    if dot in AMX_DOTS:
        return UNROLL * TMM_INPUTS * 16**3 * LANE_VALUES[dot]
    per_lane = LANE_VALUES[dot] * (2 if dot in MMLA_DOTS else 1)
    return UNROLL * target.rows * target.vectors * target.lanes * per_lane


@cache
def _compiled(target: isa.Isa, dot: str) -> tuple[Callable[[int, int], None], str]:
    module = ir.Module("hydrart.peak")
    module.triple = llvm.get_default_triple()
    function = (_emit_amx if dot in AMX_DOTS else _emit)(module, target, dot)
    function.linkage = "external"
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=3)
    parsed = llvm.parse_assembly(str(module))
    text = machine.emit_assembly(parsed)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    loop = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(engine.get_function_address(function.name))
    loop.engine = engine  # type: ignore[attr-defined] # keeps the code
    return loop, text


def _emit(module: Any, target: isa.Isa, dot: str) -> Any:
    """void loop(i64 turns, i64 address). It loads the registers from the address, and stores all sums there."""
    n = target.lanes
    floating = dot in FLOAT_DOTS
    words = ir.VectorType(I32, n)
    sums_type = ir.VectorType(emit.F32, n) if floating else words
    count = target.rows * target.vectors

    def body(b: Any, args: list[Any]) -> None:
        turns, address = args

        def place(index: int) -> Any:
            return emit.offset(b, address, index * n * 4)

        value, weight = (emit.load(b, place(count + i), words) for i in range(2))
        start = [emit.load(b, place(i), sums_type) for i in range(count)]
        before, loop, after = b.block, b.append_basic_block("turns"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        turn, opaque = b.phi(I64), b.phi(words)
        turn.add_incoming(I64(0), before)
        opaque.add_incoming(weight, before)
        phis = [b.phi(sums_type) for _ in range(count)]
        for phi, first in zip(phis, start, strict=True):
            phi.add_incoming(first, before)
        sums, changed = list(phis), opaque
        for _ in range(UNROLL):
            for i in range(count):
                # a new value for LLVM, so that it computes every product; no instruction for the CPU
                changed = emit.pinned(b, target, changed)
                sums[i] = emit.dot(b, target, dot, sums[i], value, changed)
        following = b.add(turn, I64(1))
        turn.add_incoming(following, loop)
        opaque.add_incoming(changed, loop)
        for phi, total in zip(phis, sums, strict=True):
            phi.add_incoming(total, loop)
        b.cbranch(b.icmp_unsigned("<", following, turns), loop, after)
        b.position_at_end(after)
        for i, total in enumerate(sums):
            emit.store(b, total, place(i))

    return emit.define(module, target, f"peak.{dot}", 2, body)


def _emit_amx(module: Any, target: isa.Isa, dot: str) -> Any:
    """The loop on AMX: one register of activations and one of weights, added to each register of sums in turn."""

    def body(b: Any, args: list[Any]) -> None:
        turns, address = args
        b.call(configure(module, target), [I64(16), I64(16)])
        for number in (TMM_INPUTS, TMM_WEIGHTS):
            amx(b, "tileloadd64", I8(number), pointer(b, address), I64(64))
        before, loop, after = b.block, b.append_basic_block("turns"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        turn = b.phi(I64)
        turn.add_incoming(I64(0), before)
        for _ in range(UNROLL):
            for number in range(TMM_INPUTS):
                amx(b, INSTRUCTIONS[dot], I8(number), I8(TMM_INPUTS), I8(TMM_WEIGHTS))
        following = b.add(turn, I64(1))
        turn.add_incoming(following, loop)
        b.cbranch(b.icmp_unsigned("<", following, turns), loop, after)
        b.position_at_end(after)
        for number in range(TMM_INPUTS):
            amx(b, "tilestored64", I8(number), pointer(b, emit.offset(b, address, number * 1024)), I64(64))
        amx(b, "tilerelease")

    return emit.define(module, target, f"peak.{dot}", 2, body)
