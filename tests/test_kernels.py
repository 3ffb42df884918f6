"""Every inner loop of every instruction set: what LLVM makes of it, and on this CPU what it computes."""

import ctypes
import math
import re
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from mca import loops, optimised, target_machine, triple
from numpy.typing import NDArray

from hydrart.engine.kernels import emit, emit_rows, isa
from hydrart.engine.kernels.isa import BLOCK_DOTS, ISAS, Isa

Array = NDArray[Any]

# dot -> its instruction, with a lane or a register of the right width
INSTRUCTION = {
    ("fma", 4): r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]",
    ("sdot", 4): r"sdot\tv\d+\.4s, v\d+\.16b, v\d+\.4b\[\d\]",
    ("smmla", 4): r"smmla\tv\d+\.4s, v\d+\.16b, v\d+\.16b",
    ("bfmmla", 4): r"bfmmla\tv\d+\.4s, v\d+\.8h, v\d+\.8h",
    ("fma", 8): r"vfmadd231ps\t.*%ymm",
    ("maddubs", 8): r"vpmaddubsw\t.*%ymm",
    ("vnni", 8): r"\{vex\}\tvpdpbusd\t.*%ymm",
    ("fma", 16): r"vfmadd231ps\t.*%zmm",
    ("maddubs", 16): r"vpmaddubsw\t.*%zmm",
    ("vnni", 16): r"vpdpbusd\t.*%zmm",
    ("dpbf16", 16): r"vdpbf16ps\t.*%zmm",
}
SPILL = r"%[xyz]mm.*\(%rsp\)|\(%rsp\).*%[xyz]mm|\b[qv]\d+\b.*\[sp"
DOTS = [(i, dot) for i in ISAS for dot in dict.fromkeys(i.dot(precision) for precision in ("fp32", "bf16", "int8"))]
CONVERSIONS = [(i, name, wide) for i, name, wide in product(ISAS, emit.EXPAND, (True, False))]
HERE = [i for i in ISAS if isa.host_features().issuperset(i.needs)]


def named(value: Any) -> str | None:
    return value.name if isinstance(value, Isa) else None


@cache
def module(i: Isa) -> Any:
    """All functions of an instruction set, through LLVM's passes."""
    out = ir.Module()
    functions = [emit.gemm_tile(out, i, dot) for own, dot in DOTS if own is i]
    functions += [emit.unpack(out, i, name, i.vectors if wide else 1) for own, name, wide in CONVERSIONS if own is i]
    functions += [emit.transpose(out, i), emit_rows.gelu(out, i), emit_rows.softmax(out, i)]
    if i.int8 != "fma":
        functions.append(emit.column_sums(out, i))
    for function in functions:
        function.linkage = ""  # or they are dropped for want of callers
    return optimised(out, i)


@cache
def assembly(i: Isa) -> str:
    return str(target_machine(triple(i), "").emit_assembly(module(i)))


@cache
def engine(i: Isa) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple(i)).create_target_machine(opt=3, jit=True)
    compiler = llvm.create_mcjit_compiler(module(i).clone(), machine)
    compiler.finalize_object()
    return compiler


def function(i: Isa, name: str, args: int) -> Callable[..., None]:
    """A generated function, to be called with addresses and numbers."""
    address = engine(i).get_function_address(f"hydrart.{i.name}.{name}")
    assert address
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * args)(address)
    return lambda *values: call(*(int(v.ctypes.data) if isinstance(v, np.ndarray) else int(v) for v in values))


@pytest.mark.parametrize(("i", "dot"), DOTS, ids=named)
def test_the_inner_loop_is_the_dot_and_nothing_spills(i: Isa, dot: str) -> None:
    body = loops(assembly(i), f"hydrart.{i.name}.gemm.{dot}")[0]
    expected = emit.UNROLL * i.rows * i.vectors // (2 if dot in BLOCK_DOTS else 1)
    assert sum(bool(re.match(INSTRUCTION[dot, i.lanes], code)) for code in body) == expected, body
    # AVX2 has one register too few: an accumulator on the stack is faster (Zen 3) than to load A again
    allowed = 2 * emit.UNROLL if (dot, i.lanes) == ("maddubs", 8) else 0
    assert len([code for code in body if re.search(SPILL, code)]) <= allowed
    if i.arm and dot not in BLOCK_DOTS:  # lanes are used where they are
        assert not [code for code in body if re.match("dup|mov", code)]


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_the_other_loops_keep_to_registers(i: Isa) -> None:
    names = [f"unpack.{name}.{vectors}" for name in emit.EXPAND for vectors in {1, i.vectors}]
    names += ["column_sums"] if i.int8 != "fma" else []
    for name in names:
        bodies = loops(assembly(i), f"hydrart.{i.name}.{name}")
        assert bodies, name
        for body in bodies:
            assert not [code for code in body if re.search(SPILL, code)], name


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_it_becomes_machine_code(i: Isa) -> None:
    code = target_machine(triple(i), "").emit_object(module(i))
    assert code[:4] == b"\x7fELF"


def random_bf16(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The values, and the same as uint16."""
    bits = (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32), bits


def operands(rng: np.random.Generator, dot: str, rows: int, steps: int, columns: int) -> tuple[Array, ...]:
    """A and B as float64 or int64, [rows, n] and [n, columns]; and as the dot reads them, in 32-bit lanes."""
    if dot == "fma":
        a = rng.standard_normal((rows, steps)).astype(np.float32)
        w = rng.standard_normal((columns, steps)).astype(np.float32)
        exact, stored = (a.astype(np.float64), w.astype(np.float64)), (a, w)
    elif dot in ("dpbf16", "bfmmla"):
        (a, a_bits), (w, w_bits) = (random_bf16(rng, (n, 2 * steps)) for n in (rows, columns))
        exact, stored = (a.astype(np.float64), w.astype(np.float64)), (a_bits, w_bits)
    else:
        low, high = {"maddubs": (0, 128), "vnni": (0, 256)}.get(dot, (-128, 128))
        a = rng.integers(low, high, (rows, 4 * steps)).astype(np.int8 if low else np.uint8)
        w = rng.integers(-127 if dot == "maddubs" else -128, 128, (columns, 4 * steps)).astype(np.int8)
        exact, stored = (a.astype(np.int64), w.astype(np.int64)), (a, w)
    lanes = [np.ascontiguousarray(x).view(np.uint32) for x in stored]
    return exact[0], exact[1].T, lanes[0], lanes[1].T


def packed(i: Isa, dot: str, lanes: Array) -> Array:
    """[steps, columns] as a panel."""
    steps, columns = lanes.shape
    if dot in BLOCK_DOTS:
        lanes = lanes.reshape(steps // 2, 2, columns).transpose(0, 2, 1)
    return np.ascontiguousarray(lanes)


@pytest.mark.parametrize(("i", "dot"), [(i, dot) for i, dot in DOTS if i in HERE], ids=named)
def test_products(i: Isa, dot: str) -> None:
    rng = np.random.default_rng(0)
    run = function(i, f"gemm.{dot}", 13)
    floating = dot in ("fma", "dpbf16", "bfmmla")
    rows, columns = i.rows, i.columns
    for steps, pad in ((4, 0), (8, 4), (36, 20), (256, 16)):
        a, w, a_lanes, w_lanes = operands(rng, dot, rows, steps, columns)
        a_rows = np.zeros((rows, steps + pad), np.uint32)
        a_rows[:, :steps] = a_lanes
        panel = packed(i, dot, w_lanes)
        vectors = [rng.standard_normal(columns).astype(np.float32) for _ in range(3)]
        scale = rng.standard_normal((rows, 1 if floating else 2)).astype(np.float32)
        sums = w.sum(axis=0).astype(np.float32)
        start = rng.standard_normal((rows, columns + pad)).astype(np.float32)
        for add, bias, gamma, by_row, by_column in product((0, 1), *[(False, True)] * 4):
            expected = (a @ w).astype(np.float64)
            if by_row:
                expected = expected * scale[:, :1].astype(np.float64)
                if not floating:
                    expected += scale[:, 1:].astype(np.float64) * sums.astype(np.float64)
            for used, vector, operation in zip(
                (by_column, bias, gamma), vectors, (np.multiply, np.add, np.multiply), strict=True
            ):
                if used:
                    expected = operation(expected, vector.astype(np.float64))
            if add:
                expected = expected + start[:, :columns]
            c = start.copy()
            run(
                a_rows,
                a_rows.strides[0],
                panel,
                steps,
                panel,
                c,
                c.strides[0],
                add,
                vectors[1] if bias else 0,
                vectors[2] if gamma else 0,
                scale if by_row else 0,
                vectors[0] if by_column else 0,
                sums if by_row and not floating else 0,
            )
            largest = float(np.abs(expected).max()) + float(np.abs(scale[:, 1:]).max(initial=0) * np.abs(sums).max())
            np.testing.assert_allclose(c[:, :columns], expected, rtol=0, atol=2e-6 * largest)
            np.testing.assert_array_equal(c[:, columns:], start[:, columns:])
            if not floating and not (add or bias or gamma or by_row or by_column):
                np.testing.assert_array_equal(c[:, :columns], (a @ w).astype(np.float32))


@pytest.mark.parametrize(("i", "name", "wide"), [c for c in CONVERSIONS if c[0] in HERE], ids=named)
def test_unpacking(i: Isa, name: str, wide: bool) -> None:
    rng = np.random.default_rng(0)
    vectors = i.vectors if wide else 1
    width, expand = vectors * i.lanes, emit.EXPAND[name]
    for rows, pad in ((4, 0), (16, 8)):
        source = rng.integers(0, 1 << 32, (rows, width + pad), np.uint32)
        if name == "bf16-fp32":  # no payloads of NaN
            source = random_bf16(rng, (rows, 2 * (width + pad)))[1].view(np.uint32)
        target = np.full((rows * expand, i.columns), 7, np.uint32)
        function(i, f"unpack.{name}.{vectors}", 4)(source, source.strides[0], rows, target)
        words = np.ascontiguousarray(source[:, :width])
        expected = np.full_like(target, 7)
        if name == "pairs":
            both = words.reshape(rows // 2, 2, width).transpose(0, 2, 1).reshape(rows // 2, 2 * width)
            expected.reshape(rows // 2, 2 * i.columns)[:, : 2 * width] = both
        else:
            kind = {"copy": np.uint32, "bf16-fp32": np.uint16, "int8-fp32": np.int8}[name]
            parts = words.view(kind).reshape(rows, width, expand).transpose(0, 2, 1).reshape(rows * expand, width)
            if name == "bf16-fp32":
                parts = parts.astype(np.uint32) << 16
            elif name == "int8-fp32":
                parts = parts.astype(np.float32).view(np.uint32)
            expected[:, :width] = parts
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("i", [i for i in HERE if i.int8 != "fma"], ids=named)
def test_column_sums(i: Isa) -> None:
    rng = np.random.default_rng(0)
    for steps in (4, 20, 256):
        weights = rng.integers(-128, 128, (i.columns, 4 * steps)).astype(np.int8)
        out = np.empty(i.columns, np.float32)
        function(i, "column_sums", 3)(packed(i, i.int8, weights.view(np.uint32).T), steps, out)
        np.testing.assert_array_equal(out, weights.astype(np.int64).sum(axis=1))


@pytest.mark.parametrize("i", HERE, ids=named)
def test_transposition(i: Isa) -> None:
    source = np.random.default_rng(0).standard_normal((i.lanes, i.lanes + 3)).astype(np.float32)
    target = np.zeros((i.lanes, i.lanes + 5), np.float32)
    function(i, "transpose", 4)(source, source.strides[0], target, target.strides[0])
    np.testing.assert_array_equal(target[:, : i.lanes], source[:, : i.lanes].T)
    assert not target[:, i.lanes :].any()


@pytest.mark.parametrize("i", HERE, ids=named)
def test_gelu(i: Isa) -> None:
    x = np.concatenate((np.linspace(-9, 9, 1980), np.array([0, -0.0, 1e30, -1e30]))).astype(np.float32)
    y = np.pad(x, (0, -x.size % 64))
    function(i, "gelu", 2)(y, y.size)
    expected = np.array([v * 0.5 * (1 + math.erf(v * math.sqrt(0.5))) for v in x.tolist()])
    assert (np.abs(y[: x.size] - expected) < 1.5e-6 + 3e-7 * np.abs(x)).all()


@pytest.mark.parametrize("i", HERE, ids=named)
def test_softmax(i: Isa) -> None:
    rng = np.random.default_rng(0)
    for n, scale in ((1, 1.0), (17, 0.25), (197, 0.125), (208, 3.0)):
        x = (5 * rng.standard_normal(n)).astype(np.float32)
        row, inverse = np.pad(x, (0, -n % 16), constant_values=np.nan), np.zeros(1, np.float32)
        function(i, "softmax", 4)(row, n, int(np.float32(scale).view(np.int32)), inverse)
        weights = np.exp(scale * (x.astype(np.float64) - x.max()))
        np.testing.assert_allclose(row[:n] * inverse, weights / weights.sum(), atol=1e-6)
        assert not row[n:].any()
