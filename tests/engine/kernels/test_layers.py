"""Sizes of rows and the inputs of products."""

import numpy as np
import pytest

from hydrart.codegen.isa import ACTIVATIONS, FLOAT_DOTS
from hydrart.engine.kernels import layers
from hydrart.engine.kernels.gemm import COLUMNS
from hydrart.engine.kernels.intrinsics import ISA, record_at
from hydrart.engine.kernels.state import PRODUCT
from tests.support.jitted import jitted
from tests.support.products import CODES, Array, Table, address, bf16, random_weights

_set_input, _choose_weights, _product_at = layers.set_input, layers.choose_weights, record_at(PRODUCT)


@jitted
def run(network: Array, product: int, source: int, source_row_bytes: int, n: int, first: int, end: int) -> None:
    """set_input() for matrix 0."""
    _choose_weights(_product_at(product), 0, 1, 2, 3, 4)
    _set_input(network[0], _product_at(product), source, source_row_bytes, n, first, end)


@pytest.mark.parametrize("n", [1, 16, 192, 768, 960, 1000, 3072])
def test_rows_have_room_and_do_not_share_cache_sets(n: int) -> None:
    size = layers.row_bytes(n)
    assert size >= 4 * -(-n // COLUMNS) * COLUMNS
    assert size % 64 == 0
    assert size % 4096


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_inputs_become_what_the_dot_reads(precision: str) -> None:
    rng = np.random.default_rng(0)
    dot, rows, n = ISA.dot(precision), 8, 64
    x = rng.standard_normal((rows, n + 16)).astype(np.float32)
    table = Table([random_weights(rng, precision, 16, 1, 1)])
    converted, scales = np.full((rows, 512), 0xA5, np.uint8), np.zeros((rows, 2), np.float32)
    product = np.zeros(1, PRODUCT)
    product["converted"], product["converted_row_bytes"] = address(converted), converted.strides[0]
    product["converted_scales"] = address(scales)
    run(table.network, address(product), address(x), x.strides[0], n, 2, 7)
    record = product[0]
    weights = [record[name] for name in ("matrix", "first_output_tile", "end_output_tile", "next_matrix")]
    assert [*weights, record["next_output_tile"]] == [0, 1, 2, 3, 4]
    if dot == "fma":
        assert (record["input"], record["input_row_bytes"]) == (address(x), x.strides[0])
        assert (converted == 0xA5).all()
        return
    assert (record["input"], record["input_row_bytes"]) == (address(converted), converted.strides[0])
    assert (np.delete(converted, range(2, 7), axis=0) == 0xA5).all()
    if dot in FLOAT_DOTS:
        np.testing.assert_array_equal(converted[2:7].view(np.uint16)[:, :n], bf16(x[2:7, :n])[1])
    else:
        assert record["input_scales"] == address(scales)
        q = converted[2:7, :n].view(np.int8 if ACTIVATIONS[dot][0] else np.uint8).astype(np.float64)
        step, low = scales[2:7].astype(np.float64).T[:, :, None]
        assert (np.abs(low + step * q - x[2:7, :n]) <= 0.5001 * step).all()


def test_every_precision_has_a_code() -> None:
    assert sorted(CODES.values()) == [0, 1, 2]
