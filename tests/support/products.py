"""Make weight matrices and activations for the kernels without a weight file, and multiply them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.codegen.isa import ACTIVATIONS, FLOAT_DOTS
from hydrart.codegen.records import STORE, STORE_BF16
from hydrart.engine.kernels import gemm
from hydrart.engine.kernels.intrinsics import ISA, record_at
from hydrart.engine.kernels.state import MATRIX, NETWORK, PRODUCT
from tests.support.emitted import from_bf16
from tests.support.jitted import jitted

Array = NDArray[Any]

CODES = {"fp32": gemm.FP32, "bf16": gemm.BF16, "int8": gemm.INT8}
GUARD = np.float32(7.25)  # marks memory that no kernel may write
_product_at = record_at(PRODUCT)
_gemm = gemm.gemm


@jitted
def run_gemm(network: Array, product: int) -> None:
    """Call gemm() with one NETWORK record and the address of a PRODUCT record."""
    _gemm(network[0], _product_at(product))


def address(array: Array) -> int:
    return int(array.ctypes.data)


def bf16(values: Array) -> tuple[Array, Array]:
    """Round float32 to bfloat16, to nearest, ties to even. Returns the values and their bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return from_bf16(rounded), rounded


@dataclass
class Weights:
    """A matrix in tiles. raw: float64 [outputs, inputs] without scales; scales, bias, gamma: float32 [outputs]."""

    precision: str
    head_dim: int
    raw: Array
    tiles: list[list[Array]]
    scales: Array
    bias: Array | None = None
    gamma: Array | None = None
    mode: int = STORE
    gelu: int = 0

    @property
    def values(self) -> Array:
        """float64 [outputs, inputs]"""
        return self.raw * self.scales[:, None].astype(np.float64)

    @property
    def integer(self) -> bool:
        return ISA.dot(self.precision) not in FLOAT_DOTS


def random_weights(
    rng: np.random.Generator, precision: str, head_dim: int, output_tiles: int, input_tiles: int, **fields: Any
) -> Weights:
    """Return random weights of this number of tiles, scattered in memory."""
    shape = (output_tiles * head_dim, input_tiles * head_dim)
    scales = np.ones(shape[0], np.float32)
    if precision == "int8":
        stored = rng.integers(-127, 128, shape).astype(np.int8)
        raw, scales = stored.astype(np.float64), rng.uniform(0.005, 0.01, shape[0]).astype(np.float32)
    elif precision == "bf16":
        values, stored = bf16(rng.standard_normal(shape))
        raw = values.astype(np.float64)
    else:
        stored = rng.standard_normal(shape).astype(np.float32)
        raw = stored.astype(np.float64)
    per = 4 // stored.itemsize
    tiles = []
    for rows in np.split(stored, output_tiles):
        for tile in np.split(rows, input_tiles, axis=1):  # [outputs, inputs] -> [inputs / per][outputs][per]
            tiles.append(np.ascontiguousarray(tile.reshape(head_dim, -1, per).transpose(1, 0, 2)))
    places = [tiles[i * input_tiles : (i + 1) * input_tiles] for i in range(output_tiles)]
    return Weights(precision, head_dim, raw, places, scales, **fields)


@dataclass
class Table:
    """The NETWORK record, MATRIX records and table of tiles of some matrices. It must outlive their use."""

    weights: list[Weights]
    network: Array = field(init=False)
    kept: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        matrices, tiles, sums = np.zeros(len(self.weights), MATRIX), [0], list[Array]()
        spare = 2 * gemm.GROUP
        self.kept = [matrices]
        for record, w in zip(matrices, self.weights, strict=True):
            record["first_tile"], record["tile_stride"] = len(tiles), len(w.tiles[0])
            record["output_tiles"], record["input_tiles"] = len(w.tiles), len(w.tiles[0])
            record["precision"] = CODES[w.precision]
            record["lane_rows"], record["tile_bytes"] = w.tiles[0][0].shape[0], w.tiles[0][0].nbytes
            record["tile_bytes_log2"] = int(record["tile_bytes"]).bit_length() - 1
            record["first_sum"], record["mode"], record["gelu"] = sum(map(len, sums)), w.mode, w.gelu
            tiles += [address(tile) for row in w.tiles for tile in row]
            for name in ("scales", "bias", "gamma"):
                values = getattr(w, name)
                if values is not None:
                    self.kept.append(np.pad(values.astype(np.float32), (0, spare)))
                    record[name] = address(self.kept[-1])
            sums.append(w.raw.sum(axis=1).astype(np.float32))
        table = np.array(tiles, np.int64)
        column_sums = np.pad(np.concatenate(sums), (0, spare))
        self.kept += [table, column_sums]
        self.network = np.zeros(1, NETWORK)
        self.network["head_dim"] = self.weights[0].head_dim
        self.network["matrices"], self.network["tiles"] = address(matrices), address(table)
        self.network["column_sums"] = address(column_sums)


@dataclass
class Activations:
    """Rows in the type of a dot's input. values: their values, float64 [rows, inputs]."""

    values: Array
    stored: Array
    scales: Array

    def magnitude(self, w: Weights) -> Array:
        """Return the sums of the absolute values of this product's float32 terms, [rows, outputs]."""
        if not w.integer:
            return np.abs(self.values) @ np.abs(w.values).T
        step, low = self.scales.astype(np.float64).T[:, :, None]
        q = (self.values - low) / step
        tiles = range(0, q.shape[1], w.head_dim)  # sums of integers are exact within a chunk
        exact = sum(np.abs(q[:, t : t + w.head_dim] @ w.raw[:, t : t + w.head_dim].T) for t in tiles)
        added: Array = (step * exact + np.abs(low * w.raw.sum(axis=1))) * w.scales
        return added


def activations(rng: np.random.Generator, precision: str, rows: int, inputs: int) -> Activations:
    """Return random rows for weights of this precision."""
    dot, x = ISA.dot(precision), rng.standard_normal((rows, inputs)).astype(np.float32)
    scales = np.ones((rows, 2), np.float32)
    if dot == "fma":
        return Activations(x.astype(np.float64), x, scales)
    if dot in FLOAT_DOTS:
        values, bits = bf16(x)
        return Activations(values.astype(np.float64), bits, scales)
    low, high = ACTIVATIONS[dot]
    q = rng.integers(low, high + 1, (rows, inputs))
    scales = rng.uniform(0.01, 0.02, (rows, 2)).astype(np.float32)
    values = scales[:, 1:].astype(np.float64) + scales[:, :1].astype(np.float64) * q
    return Activations(values, q.astype(np.int8 if low else np.uint8), scales)


def multiply(
    table: Table, a: Activations, outputs: tuple[int, int], first_row: int = 0, start: Array | None = None
) -> Array:
    """Multiply with matrix 0 of the table: these output tiles, and whole strips of rows from first_row on.

    start: float32 [rows, columns], the output's initial content. Returns float32 [rows, columns], with GUARD in
    unwritten places. Fails if the kernel wrote beside the output.
    """
    w, (first, end) = table.weights[0], outputs
    rows, columns = len(a.values), (end - first) * w.head_dim
    strips = -(-(rows - first_row) // gemm.ROWS)
    padded = first_row + strips * gemm.ROWS
    stored = np.zeros((padded, a.stored.shape[1] + 64 // a.stored.itemsize), a.stored.dtype)
    stored[:rows, : a.stored.shape[1]] = a.stored
    scales = np.zeros((padded, 2), np.float32)
    scales[:rows] = a.scales
    c = np.full((padded + 1, columns + 32), GUARD)
    if start is not None:
        c[:rows, :columns] = start
    before = c.copy()
    size = gemm.pack_bytes(len(w.tiles[0]))
    panels = np.full(size + 128, 0xA5, np.uint8)
    at = -address(panels) % 64
    product = np.zeros(1, PRODUCT)
    product["first_output_tile"], product["end_output_tile"] = outputs
    product["next_matrix"], product["first_row"], product["strips"] = len(table.weights) - 1, first_row, strips
    product["input"], product["input_row_bytes"] = address(stored), stored.strides[0]
    product["input_scales"] = address(scales)
    product["output"], product["output_row_bytes"] = address(c), c.strides[0]
    product["panels"] = address(panels) + at
    run_gemm(table.network, address(product))
    assert (panels[at + size :] == 0xA5).all(), "the scratch is larger than pack_bytes says"
    written = columns // (2 if w.mode == STORE_BF16 else 1)
    np.testing.assert_array_equal(c[:first_row], before[:first_row])
    np.testing.assert_array_equal(c[padded:], before[padded:])
    np.testing.assert_array_equal(c[:, written:], before[:, written:])
    if w.mode == STORE_BF16:
        return from_bf16(c.view(np.uint16)[:rows, :columns])
    return c[:rows, :columns]
