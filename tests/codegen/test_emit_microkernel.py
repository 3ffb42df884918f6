"""Microkernels: what LLVM makes of their loops on every instruction set, and what they compute on this CPU."""

import math
import re
from itertools import product

import numpy as np
import pytest

from hydrart.codegen.emit import UNROLL
from hydrart.codegen.emit_amx import AMX_STRIPS
from hydrart.codegen.isa import ACTIVATIONS, AMX_DOTS, ARM, FLOAT_DOTS, ISAS, MMLA_DOTS, Isa
from hydrart.codegen.records import ADD, AHEAD, MICROTILE, STORE, STORE_BF16, WEIGHTS
from tests.support.emitted import (
    HERE,
    MICROTILES,
    SPILL,
    Array,
    assembly,
    from_bf16,
    function,
    module,
    named,
    random_bf16,
)
from tools.mca import loops, target_machine, triple

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


@pytest.mark.parametrize(("i", "dot", "vectors"), MICROTILES, ids=named)
def test_the_inner_loop_is_the_dot_and_nothing_spills(i: Isa, dot: str, vectors: int) -> None:
    name = f"hydrart.{i.name}.microkernel.{dot}.{vectors}"
    if dot in AMX_DOTS:  # a loop for each two vectors, with another inside
        body = [line.strip() for line in assembly(i).split(f"{name}:")[1].split(".Lfunc_end")[0].splitlines()]
        expected = 2 * vectors
    else:
        body = loops(assembly(i), name)[0]
        expected = UNROLL * i.rows * vectors // (2 if dot in MMLA_DOTS else 1)
    assert sum(bool(re.match(INSTRUCTION[dot, i.lanes], code)) for code in body) == expected, body
    # AVX2 has too few registers: sums on the stack are faster (Zen 3) than to load A again
    allowed = 6 * UNROLL if (dot, i.lanes, vectors) == ("maddubs", 8, 2) else 0
    assert len([code for code in body if re.search(SPILL, code)]) <= allowed
    if i.architecture == ARM and dot not in MMLA_DOTS:  # a lane is used where it is
        assert not [code for code in body if re.match(r"(dup|mov)\tv", code)]


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_it_becomes_machine_code(i: Isa) -> None:
    code = target_machine(triple(i), "").emit_object(module(i))
    assert code[:4] == b"\x7fELF"


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
        low, high = ACTIVATIONS[dot]
        a = rng.integers(low, high + 1, (rows, 4 * steps)).astype(np.int8 if low else np.uint8)
        w = rng.integers(-127 if dot == "maddubs" else -128, 128, (columns, 4 * steps)).astype(np.int8)
        exact, stored = (a.astype(np.int64), w.astype(np.int64)), (a, w)
    lanes = [np.ascontiguousarray(x).view(np.uint32) for x in stored]
    return exact[0], exact[1].T, lanes[0], lanes[1].T


def tiled(i: Isa, dot: str, lanes: Array, tile_steps: int) -> tuple[Array, list[Array]]:
    """Weights [steps, columns] as tiles of so many steps, scattered in memory, and their WEIGHTS record.

    Returns the record with its lists, and the tiles.
    """
    steps, columns = lanes.shape
    pair = 2 if dot in MMLA_DOTS else 1
    tiles = []
    for at in range(0, steps, tile_steps):
        tile = lanes[at : at + tile_steps]
        if dot in MMLA_DOTS:  # two steps of a column side by side
            tile = tile.reshape(-1, 2, columns).transpose(0, 2, 1)
        tiles.append(np.ascontiguousarray(tile))
    vector_bytes = 4 * i.lanes * pair
    lists = [[x.ctypes.data + v * vector_bytes for x in tiles] for v in range(columns // i.lanes)]
    several = len(tiles) > 1
    record = np.zeros(1, WEIGHTS)
    record["input_bytes_log2"] = (4 * tile_steps).bit_length() - 1 if several else 62
    record["step_bytes"] = 4 * columns
    record["tile_mask"] = 4 * columns * tile_steps - 1 if several else -1
    record["list_bytes"] = 8 * len(tiles)
    record["run_steps"] = math.gcd(tile_steps, 16)
    return np.concatenate((record.view(np.int64), np.ravel(lists).astype(np.int64))), tiles


def microtile(**fields: Array | int) -> Array:
    """A MICROTILE record. Arrays are given by their address; what is left out is 0."""
    record = np.zeros(1, MICROTILE)
    for name, value in fields.items():
        record[name] = value.ctypes.data if isinstance(value, np.ndarray) else value
    return record


def ahead_of(line: Array) -> Array:
    """An AHEAD record: one line, again and again."""
    record = np.zeros(1, AHEAD)
    record["tile_bytes_log2"], record["tile_mask"], record["end_bytes"], record["lines"] = 62, 63, 256, 1
    return np.concatenate((record.view(np.int64), [line.ctypes.data]))


PRODUCTS = [
    (i, dot, vectors, strips)
    for i, dot, vectors in MICROTILES
    for strips in range(1, 1 + (AMX_STRIPS if dot in AMX_DOTS else 1))
    if i in HERE
]
# steps in all, steps of a tile, lanes between rows
SIZES = ((4, 4, 0), (8, 4, 4), (24, 8, 8), (36, 36, 20), (256, 16, 16), (96, 32, 0))


@pytest.mark.parametrize(("i", "dot", "vectors", "strips"), PRODUCTS, ids=named)
def test_products(i: Isa, dot: str, vectors: int, strips: int) -> None:
    rng = np.random.default_rng(0)
    run = function(i, f"microkernel.{dot}.{vectors}", 1)
    floating = dot in FLOAT_DOTS
    rows, columns = strips * i.rows, vectors * i.lanes
    tile_columns = 1 << (columns - 1).bit_length()  # tiles are a power of two wide
    for steps, tile_steps, pad in SIZES:
        a, w, a_lanes, w_lanes = operands(rng, dot, rows, steps, columns)
        a_rows = np.zeros((rows, steps + pad), np.uint32)
        a_rows[:, :steps] = a_lanes
        weights, tiles = tiled(i, dot, np.pad(w_lanes, ((0, 0), (0, tile_columns - columns))), tile_steps)
        ahead = ahead_of(tiles[0])
        factors = [rng.standard_normal(columns).astype(np.float32) for _ in range(3)]
        scale = rng.standard_normal((rows, 1 if floating else 2)).astype(np.float32)
        sums = w.sum(axis=0).astype(np.float32)
        start = rng.standard_normal((rows, columns + pad)).astype(np.float32)
        modes = (STORE, ADD, *((STORE_BF16,) if i.rounds_bf16 else ()))
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
            if mode == ADD:
                expected = expected + start[:, :columns]
            c = start.copy()
            if dot in AMX_DOTS:
                function(i, "configure", 2)(math.gcd(tile_steps, 16), rows // 2)
            run(
                microtile(
                    vectors=vectors,
                    strips=strips,
                    input=a_rows,
                    input_row_bytes=a_rows.strides[0],
                    weights=weights,
                    steps=steps,
                    ahead=ahead,
                    output=c,
                    output_row_bytes=c.strides[0],
                    mode=mode,
                    bias=factors[1] if bias else 0,
                    gamma=factors[2] if gamma else 0,
                    row_scales=scale if by_row else 0,
                    column_scales=factors[0] if by_column else 0,
                    column_sums=sums if by_row and not floating else 0,
                )
            )
            if dot in AMX_DOTS:
                function(i, "release", 0)()
            largest = float(np.abs(expected).max()) + float(np.abs(scale[:, 1:]).max(initial=0) * np.abs(sums).max())
            if mode == STORE_BF16:
                short = from_bf16(c.view(np.uint16)[:, :columns])
                np.testing.assert_allclose(short, expected, rtol=2**-8, atol=2e-6 * largest)
                np.testing.assert_array_equal(c[:, columns // 2 :], start[:, columns // 2 :])
                continue
            np.testing.assert_allclose(c[:, :columns], expected, rtol=0, atol=2e-6 * largest)
            np.testing.assert_array_equal(c[:, columns:], start[:, columns:])
            if not floating and not (mode or bias or gamma or by_row or by_column):
                np.testing.assert_array_equal(c[:, :columns], (a @ w).astype(np.float32))


@pytest.mark.parametrize(("i", "dot"), [(i, i.int8) for i in HERE if i.int8 in ACTIVATIONS], ids=named)
def test_the_largest_integers_do_not_overflow(i: Isa, dot: str) -> None:
    """As many inputs as a chunk has at most, all at the ends of their ranges: sums stay exact."""
    steps, columns = 384, i.columns
    low, high = ACTIVATIONS[dot]
    for activation, weight in product((low, high), (-127, 127)):
        a = np.full((i.rows, 4 * steps), activation).astype(np.int8 if low else np.uint8)
        w = np.full((columns, 4 * steps), weight, np.int8)
        weights, tiles = tiled(i, dot, w.view(np.uint32).T, steps)
        c = np.zeros((i.rows, columns), np.float32)
        if dot in AMX_DOTS:
            function(i, "configure", 2)(16, i.rows // 2)
        function(i, f"microkernel.{dot}.{i.vectors}", 1)(
            microtile(
                vectors=i.vectors,
                strips=1,
                input=a,
                input_row_bytes=a.strides[0],
                weights=weights,
                steps=steps,
                ahead=ahead_of(tiles[0]),
                output=c,
                output_row_bytes=c.strides[0],
            )
        )
        if dot in AMX_DOTS:
            function(i, "release", 0)()
        np.testing.assert_array_equal(c, np.float32(4 * steps * activation * weight))
