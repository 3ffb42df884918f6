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
from numpy.typing import NDArray

from hydrart.codegen import emit, emit_gemm, emit_pack, emit_rows, isa
from hydrart.codegen.emit_tiles import BLOCKS, configure, gemm_tiles, release
from hydrart.codegen.isa import ACTIVATIONS, BLOCK_DOTS, FLOAT_DOTS, ISAS, TILE_DOTS, Isa
from tools.mca import loops, optimised, target_machine, triple

Array = NDArray[Any]

# dot -> its instruction, with a lane or a register of the right width
INSTRUCTION = {
    ("fma", 4): r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]",
    ("sdot", 4): r"sdot\tv\d+\.4s, v\d+\.16b, v\d+\.4b\[\d\]",
    ("smmla", 4): r"smmla\tv\d+\.4s, v\d+\.16b, v\d+\.16b",
    ("bfmmla", 4): r"bfmmla\tv\d+\.4s, v\d+\.8h, v\d+\.8h",
    ("fma", 8): r"vfmadd(132|213|231)ps\t.*%ymm",
    ("maddubs", 8): r"vpmaddubsw\t.*%ymm",
    ("vnni", 8): r"\{vex\}\tvpdpbusd\t.*%ymm",
    ("fma", 16): r"vfmadd(132|213|231)ps\t.*%zmm",
    ("maddubs", 16): r"vpmaddubsw\t.*%zmm",
    ("vnni", 16): r"vpdpbusd\t.*%zmm",
    ("dpbf16", 16): r"vdpbf16ps\t.*%zmm",
    ("tdpbf16", 16): r"tdpbf16ps\t%tmm",
    ("tdpbusd", 16): r"tdpbusd\t%tmm",
}
SPILL = r"%[xyz]mm.*\(%rsp\)|\(%rsp\).*%[xyz]mm|\b[qv]\d+\b.*\[sp"
DOTS = [(i, dot) for i in ISAS for dot in dict.fromkeys(i.dot(precision) for precision in ("fp32", "bf16", "int8"))]
TILES = [(i, dot, vectors) for i, dot in DOTS for vectors in range(1, i.vectors + 1)]
CONVERSIONS = [(i, name, wide) for i, name, wide in product(ISAS, filter(None, emit.EXPAND), (True, False))]
HERE = [i for i in ISAS if isa.host_features().issuperset(i.needs)]


def _quantise(i: Isa) -> str:
    low, high = ACTIVATIONS[i.int8]
    return f"quantise.{low}.{high}"


def named(value: Any) -> str | None:
    return value.name if isinstance(value, Isa) else None


@cache
def module(i: Isa) -> Any:
    """All functions of an instruction set, through LLVM's passes."""
    out = ir.Module()
    functions = [
        (gemm_tiles if dot in TILE_DOTS else emit_gemm.gemm_tile)(out, i, dot, vectors)
        for own, dot, vectors in TILES
        if own is i
    ]
    functions += [
        emit_pack.unpack(out, i, name, i.vectors if wide else 1) for own, name, wide in CONVERSIONS if own is i
    ]
    functions += [configure(out, i), release(out, i)] if i.tiles else []
    functions += [emit_pack.transpose(out, i), emit_pack.tile_sums(out, i), emit_pack.pair_rows(out, i)]
    functions += [emit_rows.gelu(out, i), emit_rows.softmax(out, i)]
    if i.short:
        functions.append(emit_rows.softmax(out, i, short=True))
    if i.int8 in ACTIVATIONS:
        functions.append(emit_rows.quantise(out, i, *ACTIVATIONS[i.int8]))
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


@pytest.mark.parametrize(("i", "dot", "vectors"), TILES, ids=named)
def test_the_inner_loop_is_the_dot_and_nothing_spills(i: Isa, dot: str, vectors: int) -> None:
    name = f"hydrart.{i.name}.gemm.{dot}.{vectors}"
    if dot in TILE_DOTS:  # a loop for each two vectors, with another inside
        body = [line.strip() for line in assembly(i).split(f"{name}:")[1].split(".Lfunc_end")[0].splitlines()]
        expected = 2 * vectors
    else:
        body = loops(assembly(i), name)[0]
        expected = emit.UNROLL * i.rows * vectors // (2 if dot in BLOCK_DOTS else 1)
    assert sum(bool(re.match(INSTRUCTION[dot, i.lanes], code)) for code in body) == expected, body
    # AVX2 has registers too few: accumulators on the stack are faster (Zen 3) than to load A again
    allowed = 6 * emit.UNROLL if (dot, i.lanes, vectors) == ("maddubs", 8, 2) else 0
    assert len([code for code in body if re.search(SPILL, code)]) <= allowed
    if i.arm and dot not in BLOCK_DOTS:  # lanes are used where they are
        assert not [code for code in body if re.match(r"(dup|mov)\tv", code)]


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_the_other_loops_keep_to_registers(i: Isa) -> None:
    names = [f"unpack.{name}.{vectors}" for name in filter(None, emit.EXPAND) for vectors in {1, i.vectors}]
    names += ["tile_sums", _quantise(i)] if i.int8 in ACTIVATIONS else ["tile_sums"]
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
    elif dot in FLOAT_DOTS:
        (a, a_bits), (w, w_bits) = (random_bf16(rng, (n, 2 * steps)) for n in (rows, columns))
        exact, stored = (a.astype(np.float64), w.astype(np.float64)), (a_bits, w_bits)
    else:
        low, high = {"maddubs": (0, 128), "vnni": (0, 256), "tdpbusd": (0, 256)}.get(dot, (-128, 128))
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


def tiled(i: Isa, dot: str, lanes: Array, tile: int) -> tuple[Array, list[Array]]:
    """B [steps, columns] as tiles of so many steps, scattered in memory, and the record that says where they lie.

    Returns the record, and what must be kept.
    """
    steps, columns = lanes.shape
    pair = 2 if dot in BLOCK_DOTS else 1
    tiles = [packed(i, dot, lanes[at : at + tile]) for at in range(0, steps, tile)]
    vector_bytes = 4 * i.lanes * pair
    lists = [[x.ctypes.data + v * vector_bytes for x in tiles] for v in range(columns // i.lanes)]
    shift = (4 * tile).bit_length() - 1 if len(tiles) > 1 else 62
    wrap = 4 * columns * tile - 1 if len(tiles) > 1 else -1
    run = math.gcd(tile, 16)
    return np.array([shift, 4 * columns, wrap, 8 * len(tiles), run, *np.ravel(lists)], np.int64), tiles


PRODUCTS = [
    (i, dot, vectors, blocks)
    for i, dot, vectors in TILES
    for blocks in range(1, 1 + (BLOCKS if dot in TILE_DOTS else 1))
    if i in HERE
]


@pytest.mark.parametrize(("i", "dot", "vectors", "blocks"), PRODUCTS, ids=named)
def test_products(i: Isa, dot: str, vectors: int, blocks: int) -> None:
    rng = np.random.default_rng(0)
    run = function(i, f"gemm.{dot}.{vectors}", 15 if dot in TILE_DOTS else 14)
    floating = dot in FLOAT_DOTS
    rows, columns = blocks * i.rows, vectors * i.lanes
    tile_columns = 1 << (columns - 1).bit_length()  # tiles are a power of two wide
    # steps in all and of a tile
    for steps, tile, pad in ((4, 4, 0), (8, 4, 4), (24, 8, 8), (36, 36, 20), (256, 16, 16), (96, 32, 0)):
        a, w, a_lanes, w_lanes = operands(rng, dot, rows, steps, columns)
        a_rows = np.zeros((rows, steps + pad), np.uint32)
        a_rows[:, :steps] = a_lanes
        record, kept = tiled(i, dot, np.pad(w_lanes, ((0, 0), (0, tile_columns - columns))), tile)
        ahead = np.array([62, 63, 256, 1, kept[0].ctypes.data], np.int64)
        factors = [rng.standard_normal(columns).astype(np.float32) for _ in range(3)]
        scale = rng.standard_normal((rows, 1 if floating else 2)).astype(np.float32)
        sums = w.sum(axis=0).astype(np.float32)
        start = rng.standard_normal((rows, columns + pad)).astype(np.float32)
        modes = (emit_gemm.STORE, emit_gemm.ADD, *((emit_gemm.STORE_BF16,) if i.short else ()))
        for mode, bias, gamma, by_row, by_column in product(modes, *[(False, True)] * 4):
            expected = (a @ w).astype(np.float64)
            if by_row:
                expected = expected * scale[:, :1].astype(np.float64)
                if not floating:
                    expected += scale[:, 1:].astype(np.float64) * sums.astype(np.float64)
            for used, factor, operation in zip(
                (by_column, bias, gamma), factors, (np.multiply, np.add, np.multiply), strict=True
            ):
                if used:
                    expected = operation(expected, factor.astype(np.float64))
            if mode == emit_gemm.ADD:
                expected = expected + start[:, :columns]
            c = start.copy()
            if dot in TILE_DOTS:
                function(i, "configure", 2)(math.gcd(tile, 16), rows // 2)
            run(
                *([blocks] if dot in TILE_DOTS else []),
                a_rows,
                a_rows.strides[0],
                record,
                steps,
                ahead,
                0,
                c,
                c.strides[0],
                mode,
                factors[1] if bias else 0,
                factors[2] if gamma else 0,
                scale if by_row else 0,
                factors[0] if by_column else 0,
                sums if by_row and not floating else 0,
            )
            if dot in TILE_DOTS:
                function(i, "release", 0)()
            largest = float(np.abs(expected).max()) + float(np.abs(scale[:, 1:]).max(initial=0) * np.abs(sums).max())
            if mode == emit_gemm.STORE_BF16:
                short = c.view(np.uint16)[:, :columns].astype(np.uint32) << 16
                np.testing.assert_allclose(short.view(np.float32), expected, rtol=2**-8, atol=2e-6 * largest)
                np.testing.assert_array_equal(c[:, columns // 2 :], start[:, columns // 2 :])
                continue
            np.testing.assert_allclose(c[:, :columns], expected, rtol=0, atol=2e-6 * largest)
            np.testing.assert_array_equal(c[:, columns:], start[:, columns:])
            if not floating and not (mode or bias or gamma or by_row or by_column):
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
            kind = {"bf16-fp32": np.uint16, "int8-fp32": np.int8}[name]
            parts = words.view(kind).reshape(rows, width, expand).transpose(0, 2, 1).reshape(rows * expand, width)
            if name == "bf16-fp32":
                parts = parts.astype(np.uint32) << 16
            elif name == "int8-fp32":
                parts = parts.astype(np.float32).view(np.uint32)
            expected[:, :width] = parts
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("i", HERE, ids=named)
def test_sums_of_a_tile(i: Isa) -> None:
    rng = np.random.default_rng(0)
    for rows in (4, 16):
        tile = rng.integers(-128, 128, (rows, i.lanes + 5, 4)).astype(np.int8)
        start = rng.integers(-1000, 1000, i.lanes).astype(np.int32)
        out = start.copy()
        function(i, "tile_sums", 4)(tile, tile.strides[0], rows, out)
        np.testing.assert_array_equal(out, start + tile[:, : i.lanes].sum(axis=(0, 2), dtype=np.int32))


@pytest.mark.parametrize("i", HERE, ids=named)
def test_pairs_of_rows(i: Isa) -> None:
    rows = np.random.default_rng(0).integers(0, 1 << 16, (2, i.lanes)).astype(np.uint16)
    out = np.zeros((i.lanes, 2), np.uint16)
    function(i, "pair_rows", 3)(rows[0], rows[1], out)
    np.testing.assert_array_equal(out, rows.T)


@pytest.mark.parametrize("i", [i for i in HERE if i.int8 in ACTIVATIONS], ids=named)
def test_activations_become_integers(i: Isa) -> None:
    rng = np.random.default_rng(0)
    low, high = ACTIVATIONS[i.int8]
    for n in (16, 48, 768):
        for x in (rng.standard_normal(n) * 3 + 1, np.full(n, 2.5), np.zeros(n), rng.standard_normal(n) * 1e-6 - 5):
            row = x.astype(np.float32)
            out, scale = np.zeros(n + 4, np.int8 if low else np.uint8), np.zeros(2, np.float32)
            function(i, _quantise(i), 4)(row, n, out, scale)
            q = out[:n].astype(np.float64)
            assert not out[n:].any()
            assert q.min() == low
            assert q.max() == (high if row.min() < row.max() else low)
            error = scale[1].astype(np.float64) + scale[0].astype(np.float64) * q - row
            assert np.abs(error).max() <= 0.5001 * scale[0] + 1e-6 * np.abs(row).max()


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
        assert (row[n:] < 2e-38).all()
        if i.short:
            row = np.pad(x, (0, -n % 16), constant_values=np.nan)
            function(i, "softmax.bf16", 4)(row, n, int(np.float32(scale).view(np.int32)), inverse)
            short = (row.view(np.uint16)[: row.size].astype(np.uint32) << 16).view(np.float32)
            np.testing.assert_allclose(short[:n] * inverse, weights / weights.sum(), rtol=2**-8, atol=1e-6)
            assert (short[n:] < 2e-38).all()
