"""Functions that rearrange numbers: their loops on every instruction set, and what they compute on this CPU."""

import re

import numpy as np
import pytest

from hydrart.codegen import emit
from hydrart.codegen.isa import ISAS, Isa
from tests.support.emitted import CONVERSIONS, HERE, SPILL, assembly, function, named, random_bf16
from tools.mca import loops


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_the_loops_keep_to_registers(i: Isa) -> None:
    names = [f"unpack.{name}.{vectors}" for name in filter(None, emit.EXPAND) for vectors in {1, i.vectors}]
    for name in (*names, "tile_sums"):
        bodies = loops(assembly(i), f"hydrart.{i.name}.{name}")
        assert bodies, name
        for body in bodies:
            assert not [code for code in body if re.search(SPILL, code)], name


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


@pytest.mark.parametrize("i", HERE, ids=named)
def test_transposition(i: Isa) -> None:
    source = np.random.default_rng(0).standard_normal((i.lanes, i.lanes + 3)).astype(np.float32)
    target = np.zeros((i.lanes, i.lanes + 5), np.float32)
    function(i, "transpose", 4)(source, source.strides[0], target, target.strides[0])
    np.testing.assert_array_equal(target[:, : i.lanes], source[:, : i.lanes].T)
    assert not target[:, i.lanes :].any()
