"""What is done to rows, against NumPy in float64."""

from typing import Any

import numpy as np
import pytest

from hydrart.codegen.isa import ACTIVATIONS, FLOAT_DOTS
from hydrart.engine.kernels import rows
from hydrart.engine.kernels.intrinsics import ISA
from tests.support.jitted import jitted
from tests.support.products import GUARD, Array, address, bf16

WIDTHS = (1, 7, 16, 48, 192, 768)


@jitted
def _run(what: int, source: int, target: int, n: int, weight: int, bias: int, eps: float) -> None:
    if what == 0:
        rows.copy(source, target, n)
    elif what == 1:
        rows.add(target, source, n)
    elif what == 2:
        rows.layer_norm(source, target, weight, bias, n, eps)
    elif what == 3:
        rows.to_bfloat16(source, target, n, bias)
    elif what == 4:
        rows.to_integers(source, target, n, bias)
    elif what == 5:
        rows.scale(source, target, n, np.float32(eps))
    elif what == 6:
        rows.add_scaled(target, source, n, np.float32(eps))


def run(what: int, source: Array, target: Array, *, n: int, **others: Any) -> None:
    weight, bias = (address(others[name]) if name in others else 0 for name in ("weight", "bias"))
    _run(what, address(source), address(target), n, weight, bias, others.get("eps", 0.0))


def random_row(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


@pytest.mark.parametrize("n", WIDTHS)
def test_copy_and_add(n: int) -> None:
    x, y = random_row(n), np.full(n + 16, GUARD)
    run(0, x, y, n=n)
    np.testing.assert_array_equal(y[:n], x)
    run(1, x, y, n=n)
    np.testing.assert_array_equal(y[:n], x + x)
    assert (y[n:] == GUARD).all()


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("n", WIDTHS)
def test_layer_norm(n: int, offset: float) -> None:
    """An offset of 100 deviations costs the digits that it takes, and no more: the variance is taken from the mean."""
    x, weight, bias = random_row(n) + np.float32(offset), random_row(n, 1), random_row(n, 2)
    y = np.full(n + 16, GUARD)
    run(2, x, y, n=n, weight=weight, bias=bias, eps=1e-6)
    x64 = x.astype(np.float64)
    centred = x64 - x64.mean()
    wanted = centred / np.sqrt((centred**2).mean() + 1e-6) * weight + bias
    if n > 1:
        assert np.abs(y[:n] - wanted).max() < 2e-6 * (1 + offset) * np.abs(weight).max() + 1e-6
    else:
        np.testing.assert_array_equal(y[:1], bias)
    assert (y[n:] == GUARD).all()


def test_layer_norm_of_equal_numbers_is_the_bias() -> None:
    bias, y = random_row(192), np.zeros(192, np.float32)
    run(2, np.full(192, 3, np.float32), y, n=192, weight=random_row(192, 1), bias=bias, eps=1e-6)
    np.testing.assert_allclose(y, bias, atol=1e-5)


def test_bfloat16_is_rounded_to_nearest_ties_to_even() -> None:
    numbers = [0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, -np.inf, np.nan, 3.3895314e38, 1e-40, -1.5]
    special = np.array(numbers, np.float32)
    x = np.concatenate((special, random_row(1000) * np.float32(1e3)))
    y = np.full(x.size + 16, 7, np.uint16)
    run(3, x, y, n=x.size)
    finite = np.isfinite(x)
    np.testing.assert_array_equal(y[: x.size][finite], bf16(x[finite])[1])
    values = (y[: x.size].astype(np.uint32) << 16).view(np.float32)
    assert np.isnan(values[6])
    np.testing.assert_array_equal(values[4:6], x[4:6])
    near = np.abs(x[10:]) > 0
    assert (np.abs(values[10:] - x[10:])[near] <= 2.0**-8 * np.abs(x[10:])[near]).all()
    assert (y[x.size :] == 7).all()


@pytest.mark.skipif(ISA.int8 in FLOAT_DOTS, reason="int8 weights meet floats on this CPU")
@pytest.mark.parametrize("n", [16, 48, 768])
def test_integers(n: int) -> None:
    """Half a step of error at most: the smallest number is the lowest integer, the largest the highest."""
    low, high = ACTIVATIONS[ISA.int8]
    for x in (random_row(n), random_row(n) * np.float32(1e-3) + 5, np.full(n, -2, np.float32)):
        q, scale = np.zeros(n + 16, np.int8 if low else np.uint8), np.zeros(2, np.float32)
        run(4, x, q, n=n, bias=scale)
        step, zero = scale.astype(np.float64)
        assert np.abs(zero + step * q[:n].astype(np.float64) - x).max() <= 0.5001 * step + 1e-6 * np.abs(x).max()
        assert q[:n].min() == low
        assert q[:n].max() == (high if step else low)
        assert not q[n:].any()


def test_the_kernels_write_what_their_dots_read() -> None:
    for precision, function, size in (
        ("bf16", rows.bf16_from_row, rows.BF16_BYTES),
        ("int8", rows.int8_from_row, rows.INT8_BYTES),
    ):
        dot = ISA.dot(precision)
        if dot == "fma":
            assert (function, size) == (rows.to_fp32, 4)
        elif dot in FLOAT_DOTS:
            assert (function, size) == (rows.to_bfloat16, 2)
        else:
            assert (function, size) == (rows.to_integers, 1)


@pytest.mark.parametrize("n", WIDTHS)
def test_scaled_rows(n: int) -> None:
    x, y, factor = random_row(n), np.full(n + 16, GUARD), 0.75
    run(5, x, y, n=n, eps=factor)
    np.testing.assert_array_equal(y[:n], x * np.float32(factor))
    run(6, x, y, n=n, eps=factor)
    np.testing.assert_array_equal(y[:n], x * np.float32(2 * factor))
    assert (y[n:] == GUARD).all()
