"""Products with weights in tiles, against NumPy in float64."""

import math
from itertools import product

import numpy as np
import pytest

from hydrart.codegen.isa import ACTIVATIONS, FLOAT_DOTS, LANE_VALUES
from hydrart.codegen.records import ADD, AHEAD, STORE, STORE_BF16
from hydrart.engine.kernels import gemm
from hydrart.engine.kernels.intrinsics import ISA, record_at
from hydrart.engine.kernels.state import FC1, FC2, PATCH, PER_BLOCK, PRODUCT, PROJ, QKV
from tests.support.jitted import jitted
from tests.support.products import Activations, Array, Table, Weights, activations, address, multiply, random_weights

PRECISIONS = ("fp32", "bf16", "int8")
# of a dot, the inputs that a step has, and the steps of a chunk
ISA_LANE_VALUES = {precision: LANE_VALUES[ISA.dot(precision)] for precision in PRECISIONS}
CHUNK_STEPS = {p: gemm.STEPS if ISA.conversion(p) else gemm.STEPS_IN_PLACE for p in PRECISIONS}
_fill = gemm.fill_column_sums


def expected(w: Weights, a: Activations, outputs: tuple[int, int], start: Array | None = None) -> Array:
    """C in float64."""
    columns = slice(outputs[0] * w.head_dim, outputs[1] * w.head_dim)
    c = a.values @ w.values[columns].T
    if w.bias is not None:
        c = c + w.bias[columns]
    if w.gamma is not None:
        c = c * w.gamma[columns]
    if w.gelu:
        c = np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x * math.sqrt(0.5))))(c)
    return c + start if w.mode == ADD and start is not None else c


def check(w: Weights, a: Activations, outputs: tuple[int, int], first_row: int = 0) -> None:
    """The contract: an error of at most 1e-6 of the sum of the absolute values that were added."""
    rng = np.random.default_rng(1)
    columns = slice(outputs[0] * w.head_dim, outputs[1] * w.head_dim)
    start = rng.standard_normal((len(a.values), columns.stop - columns.start)).astype(np.float32)
    c = multiply(Table([w, w]), a, outputs, first_row, start if w.mode == ADD else None)[first_row:]
    size = a.magnitude(w)[first_row:, columns] + 1
    if w.gamma is not None:
        size = size * np.abs(w.gamma[columns])
    bound = 1e-6 * (size + 1) + (2e-6 if w.gelu else 0)
    wanted = expected(w, a, outputs, start)[first_row:]
    if w.mode == STORE_BF16:
        bound = bound + 2.0**-8 * (np.abs(wanted) + bound)
    assert (np.abs(c - wanted) <= bound).all()


@pytest.mark.parametrize("head_dim", [16, 32, 64])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_products(precision: str, head_dim: int) -> None:
    rng = np.random.default_rng(0)
    for output_tiles, input_tiles, rows in ((1, 1, 1), (5, 3, 7), (12, 4, 50)):
        w = random_weights(rng, precision, head_dim, output_tiles, input_tiles)
        check(w, activations(rng, precision, rows, input_tiles * head_dim), (0, output_tiles))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_some_outputs_and_some_rows(precision: str) -> None:
    rng = np.random.default_rng(0)
    w = random_weights(rng, precision, 16, 11, 4)
    a = activations(rng, precision, 23, 64)
    for outputs, first_row in (((3, 4), 0), ((1, 8), 6), ((4, 11), 13)):
        check(w, a, outputs, first_row)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_epilogue(precision: str) -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal(8 * 32).astype(np.float32) for _ in range(2)]
    a = activations(rng, precision, 9, 4 * 32)
    modes = (STORE, ADD, *((STORE_BF16,) if ISA.rounds_bf16 else ()))
    for mode, bias, gamma, gelu in product(modes, (None, vectors[0]), (None, vectors[1]), (0, 1)):
        if mode == STORE or not gelu:
            w = random_weights(rng, precision, 32, 8, 4, mode=mode, bias=bias, gamma=gamma, gelu=gelu)
            check(w, a, (2, 8))


@pytest.mark.parametrize("mode", [STORE, ADD])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_inputs_in_chunks(precision: str, mode: int) -> None:
    """More steps than a chunk has: bias, sums of columns and what was there before are added once."""
    rng = np.random.default_rng(0)
    tiles = 1 + gemm.STEPS_IN_PLACE * 4 // 64 if precision == "int8" else 15
    bias = rng.standard_normal(3 * 64).astype(np.float32)
    w = random_weights(rng, precision, 64, 3, tiles, mode=mode, bias=bias, gamma=bias)
    check(w, activations(rng, precision, 8, tiles * 64), (0, 3))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_row_depends_on_no_other(precision: str) -> None:
    rng = np.random.default_rng(0)
    w = random_weights(rng, precision, 64, 4, 8)
    a = activations(rng, precision, 40, 512)
    together = multiply(Table([w, w]), a, (0, 4))
    for row in (0, 17, 39):
        alone = Activations(a.values[row : row + 1], a.stored[row : row + 1], a.scales[row : row + 1])
        np.testing.assert_array_equal(multiply(Table([w, w]), alone, (0, 4))[0], together[row])


def test_the_largest_integers_are_summed_exactly() -> None:
    """As many inputs as a chunk has; a pair of maddubs' 7-bit activations must not saturate."""
    dot = ISA.dot("int8")
    if dot in FLOAT_DOTS:
        pytest.skip("int8 weights meet floats on this CPU")
    rng = np.random.default_rng(0)
    tiles = gemm.STEPS_IN_PLACE * 4 // 64
    for activation, weight in product(ACTIVATIONS[dot], (-127, 127)):
        w = random_weights(rng, "int8", 64, 1, tiles)
        for tile in w.tiles[0]:
            tile[:] = weight
        w.raw[:] = weight
        w.scales[:] = 1
        stored = np.full((6, tiles * 64), activation)
        ones = np.tile(np.array([1, 0], np.float32), (6, 1))
        a = Activations(stored.astype(np.float64), stored.astype(np.int8 if ACTIVATIONS[dot][0] else np.uint8), ones)
        np.testing.assert_array_equal(
            multiply(Table([w, w]), a, (0, 1)), np.float32(tiles * 64 * activation * weight) * np.ones((6, 64))
        )


_place_ahead, _matrix_at, _product_at = gemm.place_ahead, gemm.matrix_at, record_at(PRODUCT)


@jitted
def run_place_ahead(network: Array, product: int, record: int, place: tuple[int, int, int]) -> None:
    """place: the output tile, the first input tile and how many."""
    net, work = network[0], _product_at(product)
    _place_ahead(net, work, _matrix_at(net.matrices), record, place[0], place[1], place[2])


def fetched_tiles(w: Weights, following: Weights, outputs: tuple[int, int], next_output_tile: int) -> list[list[int]]:
    """For each group and chunk of a product, the addresses that a microkernel may look up to fetch lines from."""
    table = Table([w, following])
    panels, product = np.zeros(64, np.uint8), np.zeros(1, PRODUCT)
    product["first_output_tile"], product["end_output_tile"] = outputs
    product["next_matrix"], product["next_output_tile"] = 1, next_output_tile
    product["panels"] = address(panels)
    steps = w.head_dim // ISA_LANE_VALUES[w.precision]
    chunk = -(-len(w.tiles[0]) // -(-len(w.tiles[0]) * steps // CHUNK_STEPS[w.precision]))
    found = []
    for first_input in range(0, len(w.tiles[0]), chunk):
        inputs = min(chunk, len(w.tiles[0]) - first_input)
        for out in range(outputs[0], outputs[1], gemm.GROUP // w.head_dim):
            record = np.full(4096, -1, np.int64)
            run_place_ahead(table.network, address(product), address(record), (out, first_input, inputs))
            head = record[: AHEAD.itemsize // 8].view(AHEAD)[0]
            most = int(head["end_bytes"]) + (inputs * steps * gemm.AHEAD_BYTES - 1) * int(head["lines"])
            found.append(record[AHEAD.itemsize // 8 :][: (most >> int(head["tile_bytes_log2"])) + 1].tolist())
    assert found[-1][0] == (
        address(following.tiles[next_output_tile][0]) if next_output_tile < len(following.tiles) else address(panels)
    )
    return found


@pytest.mark.parametrize("head_dim", [16, 32, 64])
def test_only_tiles_that_there_are_are_fetched(head_dim: int) -> None:
    """Also where the next matrix is smaller than a group, or its first wanted tile lies beyond it."""
    rng = np.random.default_rng(0)
    for precision, then in product(PRECISIONS, PRECISIONS):
        for next_tiles, next_output_tile in ((1, 0), (3, 0), (5, 3), (4, 4), (9, 2)):
            w = random_weights(rng, precision, head_dim, 6, int(rng.integers(1, 40)))
            following = random_weights(rng, then, head_dim, next_tiles, int(rng.integers(1, 9)))
            *inside, last = fetched_tiles(w, following, (1, 6), next_output_tile)
            own = {address(tile) for row in w.tiles for tile in row}
            assert all(own.issuperset(addresses) for addresses in inside)
            wanted = following.tiles[next_output_tile : next_output_tile + gemm.GROUP // head_dim]
            there = {address(tile) for row in wanted for tile in row} or set(last[:1])
            assert there.issuperset(last), (precision, then, next_tiles, next_output_tile)


@jitted
def run_fill(network: Array, counted: int) -> None:
    _fill(network[0], counted)


def test_sums_of_columns() -> None:
    rng = np.random.default_rng(0)
    k, head_dim = 3, 32
    shapes = {PATCH: (k, 2), QKV: (3 * k, k), PROJ: (k, k), FC1: (4 * k, k), FC2: (k, 4 * k)}
    weights = [random_weights(rng, "bf16" if role == PATCH else "int8", head_dim, *shapes[role]) for role in shapes]
    weights += [random_weights(rng, "int8", head_dim, *shapes[role]) for role in (QKV, PROJ, FC1, FC2)]
    table = Table(weights)
    table.network["depth"], table.network["k"] = (len(weights) - 1) // PER_BLOCK, k
    sums = table.kept[-1]
    wanted = sums.copy()
    sums[k * head_dim :] = np.nan
    run_fill(table.network, address(np.zeros(head_dim, np.int32)))
    np.testing.assert_array_equal(sums[: wanted.size - 2 * gemm.GROUP], wanted[: wanted.size - 2 * gemm.GROUP])
