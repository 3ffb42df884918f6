"""GELU, softmax and quantisation: their loops on every instruction set, and what they compute on this CPU."""

import math
import re

import numpy as np
import pytest

from hydrart.codegen.isa import ACTIVATIONS, ISAS, Isa
from tests.support.emitted import HERE, SPILL, assembly, from_bf16, function, named, quantise_name
from tools.mca import loops


@pytest.mark.parametrize("i", [i for i in ISAS if i.int8 in ACTIVATIONS], ids=named)
def test_the_loops_of_quantisation_keep_to_registers(i: Isa) -> None:
    bodies = loops(assembly(i), f"hydrart.{i.name}.{quantise_name(i)}")
    assert bodies
    for body in bodies:
        assert not [code for code in body if re.search(SPILL, code)]


@pytest.mark.parametrize("i", [i for i in HERE if i.int8 in ACTIVATIONS], ids=named)
def test_activations_become_integers(i: Isa) -> None:
    rng = np.random.default_rng(0)
    low, high = ACTIVATIONS[i.int8]
    for n in (16, 48, 768):
        for x in (rng.standard_normal(n) * 3 + 1, np.full(n, 2.5), np.zeros(n), rng.standard_normal(n) * 1e-6 - 5):
            row = x.astype(np.float32)
            out, scale = np.zeros(n + 4, np.int8 if low else np.uint8), np.zeros(2, np.float32)
            function(i, quantise_name(i), 4)(row, n, out, scale)
            q = out[:n].astype(np.float64)
            assert not out[n:].any()
            assert q.min() == low
            assert q.max() == (high if row.min() < row.max() else low)
            error = scale[1].astype(np.float64) + scale[0].astype(np.float64) * q - row
            assert np.abs(error).max() <= 0.5001 * scale[0] + 1e-6 * np.abs(row).max()


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
        if i.rounds_bf16:
            row = np.pad(x, (0, -n % 16), constant_values=np.nan)
            function(i, "softmax.bf16", 4)(row, n, int(np.float32(scale).view(np.int32)), inverse)
            short = from_bf16(row.view(np.uint16)[: row.size])
            np.testing.assert_allclose(short[:n] * inverse, weights / weights.sum(), rtol=2**-8, atol=1e-6)
            assert (short[n:] < 2e-38).all()


BAD = pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])


@BAD
@pytest.mark.parametrize("i", HERE, ids=named)
def test_a_number_that_is_not_finite_spoils_its_row_of_softmax(i: Isa, bad: float) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 17, 197):
        for at in {0, n // 2, n - 1}:
            row, inverse = np.zeros(-(-n // 16) * 16, np.float32), np.zeros(1, np.float32)
            row[:n] = rng.standard_normal(n)
            row[at] = bad
            for name in ("softmax", "softmax.bf16") if i.rounds_bf16 else ("softmax",):
                function(i, name, 4)(row.copy(), n, int(np.float32(1).view(np.int32)), inverse)
                assert np.isnan(inverse[0]), (n, at, name)


@BAD
@pytest.mark.parametrize("i", [i for i in HERE if i.int8 in ACTIVATIONS], ids=named)
def test_a_number_that_is_not_finite_makes_the_step_nan(i: Isa, bad: float) -> None:
    rng = np.random.default_rng(0)
    for n in (16, 48, 768):
        for at in {0, 7, n // 2 + 1, n - 1}:
            row = rng.standard_normal(n).astype(np.float32)
            row[at] = bad
            out, scale = np.zeros(n, np.uint8), np.zeros(2, np.float32)
            function(i, quantise_name(i), 4)(row, n, out, scale)
            assert np.isnan(scale).all(), (n, at, scale)


@BAD
@pytest.mark.parametrize("i", HERE, ids=named)
def test_gelu_of_a_number_that_is_not_finite_is_not(i: Isa, bad: float) -> None:
    y = np.zeros(64, np.float32)
    y[37] = bad
    function(i, "gelu", 2)(y, 64)
    assert not np.isfinite(y[37])
    assert not np.delete(y, 37).any()
