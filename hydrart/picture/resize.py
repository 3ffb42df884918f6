"""Resize (antialiased), crop and normalise uint8 pictures. Only the pixels that the crop needs are read.

The result has the bits of Pillow 13's 8-bit resampling (its Resample.c). The coefficients have 22 fractional bits. The
horizontal pass comes first, and its result is rounded and clipped to 8 bits. A picture that is reduced by much more in
height than in width has the vertical pass first. Pillow before version 13 differs there.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hydrart.codegen.jit import compiled, kernel

_BITS = 22  # fractional bits of a coefficient: the other 10 of an int32 hold a pixel and sums outside 0..1
_UNROLL = 4  # zeros pad the coefficients to a multiple of this
_ROWS = 21  # rows that are filtered together: with the spare byte they have 64 lanes, whole registers on any CPU
_LANES = 3 * _ROWS + 1


def resize(
    picture: NDArray[np.uint8], table: NDArray[np.float32], size: int, sides: tuple[int, int], interpolation: str
) -> NDArray[np.float32]:
    """Resize height and width to `sides`, take the centre and map each channel's values through its row of `table`.

    - picture: uint8 [H, W, 3] of any strides.
    - table: float32 [3, 256].
    - size: side of the centre. Where a side becomes shorter, zeros lie around it, before the table.
    - interpolation: "bicubic" or "bilinear".

    Returns float32 [1, 3, size, size]. Calls from several threads are safe.
    """
    height, width, _ = picture.shape
    rows = _axis(height, sides[0], size, interpolation)
    columns = _axis(width, sides[1], size, interpolation)
    window = picture[rows.begin : rows.end, columns.begin : columns.end]
    tall = height - rows.length > 2 * max(0, width - columns.length)
    if tall:
        window, rows, columns = window.transpose(1, 0, 2), columns, rows
    # both buffers are longer than their pixels: zero weights meet what lies beyond the last pixel
    transposed = np.empty(max(window.shape[1], columns.reach) * _LANES, np.uint8)
    middle = np.empty(max(window.shape[0], rows.reach) * (3 * size + 1), np.uint8)
    sums = np.empty(max(_LANES, 3 * size), np.int32)
    line = np.empty(sums.size, np.uint8)
    out = np.empty((1, 3, size, size), np.float32)
    filters = (rows.first, rows.weights), (columns.first, columns.weights)
    _run.ready()(window, *filters, table, (transposed, middle, sums, line), out[0])
    return np.ascontiguousarray(out.transpose(0, 1, 3, 2)) if tall else out


def prepare(height: int, width: int, size: int, sides: tuple[int, int], interpolation: str) -> None:
    """Compute the weights that resize() needs for pictures [height, width, 3]. The weights of 32 sizes are kept."""
    for side, whole in zip((height, width), sides, strict=True):
        _axis(side, whole, size, interpolation)


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of a resize and crop, or of a resize and a border.

    - length: length of the whole side after the resize, in pixels.
    - begin, end: range of the source pixels that the crop needs.
    - first: int32 [size]. Pixel i of the crop is the weighted sum of `taps` source pixels from begin + first[i] on.
    - weights: int32 [size * taps]. Where the border cuts the filter off, the last weights are zero, and their pixels
      may lie beyond the end.
    - reach: number of pixels from begin to the last one that is read.
    """

    length: int
    begin: int
    end: int
    first: NDArray[np.int32]
    weights: NDArray[np.int32]
    reach: int


@functools.lru_cache(maxsize=64)
def _axis(side: int, whole: int, size: int, interpolation: str) -> _Axis:
    """How `side` pixels become `whole`, and the `size` in the centre of them."""
    before = border(whole, size)
    inside = min(whole, size)
    offset = round((whole - inside) / 2)  # torchvision rounds the place of the crop to the nearest
    reach, weigh = _FILTERS[interpolation]
    scale = side / whole
    stretch = max(scale, 1.0)  # for antialiasing, the filter covers all source pixels that become one pixel
    centre = (np.arange(offset, offset + inside) + 0.5) * scale
    first = np.maximum((centre - reach * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach * stretch + 0.5).astype(np.int64), side)
    count = (last - first)[:, None]
    taps = np.arange(-(-int(count.max()) // _UNROLL) * _UNROLL)
    distance = np.abs((taps + first[:, None] - centre[:, None] + 0.5) * (1 / stretch))
    weights = np.where(taps < count, weigh(distance), 0.0)
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # added up one by one, as Pillow does
    rounded = np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights))
    begin = int(first.min())
    reach = int(first.max()) - begin + taps.size
    around = (before, size - inside - before)  # pixels of the border: their weights are zero
    first, end = np.pad((first - begin).astype(np.int32), around), int(last.max())
    return _Axis(whole, begin, end, first, np.pad(rounded.astype(np.int32), (around, (0, 0))).ravel(), reach)


def border(whole: int, size: int) -> int:
    """Pixels of the border before a side that became `whole`, fewer than `size`; else 0."""
    return max(size - whole, 0) // 2


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 1, 1 - x, 0.0)


_Filter = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_FILTERS: dict[str, tuple[float, _Filter]] = {"bicubic": (2.0, _bicubic), "bilinear": (1.0, _bilinear)}


def _word_pointer(context: Any, builder: Any, array: Any, value: Any, offset: Any) -> Any:
    data = context.make_array(array)(context, builder, value).data
    byte = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [offset])
    return builder.bitcast(byte, ir.IntType(32).as_pointer())


def _load_word(typingctx: Any, array: Any, offset: Any) -> Any:
    """Read the four bytes from `offset` on, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_word_pointer(context, builder, signature.args[0], *arguments), align=1)

    return types.uint32(array, types.int64), generate


def _store_word(typingctx: Any, array: Any, offset: Any, word: Any) -> Any:
    """Write the four bytes from `offset` on, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, at, four = arguments
        builder.store(four, _word_pointer(context, builder, signature.args[0], value, at), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint32), generate


def _weighted_sum(sums: Any, lanes: Any, rows: Any, first: Any, stride: Any, weights: Any, at: Any, taps: Any) -> None:
    """Sum the rows of bytes, `stride` apart from `first` on, times the weights from `at` on, plus a half to round."""
    # unsigned indices save Numba's check for negative ones, which count from the end
    for lane in range(lanes):
        sums[lane] = 1 << (_BITS - 1)
    for tap in range(np.uintp(0), taps, np.uintp(_UNROLL)):
        k0, k1 = weights[at + tap], weights[at + tap + np.uintp(1)]
        k2, k3 = weights[at + tap + np.uintp(2)], weights[at + tap + np.uintp(3)]
        a = first + tap * stride
        b, c, d = a + stride, a + np.uintp(2) * stride, a + np.uintp(3) * stride
        for lane in range(lanes):
            sums[lane] += (
                k0 * np.int32(rows[a + lane])
                + k1 * np.int32(rows[b + lane])
                + k2 * np.int32(rows[c + lane])
                + k3 * np.int32(rows[d + lane])
            )


_load: Any = intrinsic(_load_word)
_store: Any = intrinsic(_store_word)
_weigh: Any = kernel(_weighted_sum)


@compiled(
    "void(Array(uint8, 3, 'A', True), UniTuple(int32[::1], 2), UniTuple(int32[::1], 2), float32[:, ::1], "
    "Tuple((uint8[::1], uint8[::1], int32[::1], uint8[::1])), float32[:, :, ::1])"
)
def _run(source: Any, rows: Any, columns: Any, table: Any, buffers: Any, out: Any) -> None:
    """Resize the uint8 pixels `source` [H, W, 3] into `out`, float32 [3, size, size].

    - rows, columns: the first source pixel of each output pixel, and the weights (see _Axis).
    - buffers: for the transposed pixels of _ROWS rows, for the pixels between the two passes, for the sums of a line,
      and for its 8-bit values.
    """
    (row_first, row_weights), (column_first, column_weights) = rows, columns
    transposed, middle, sums, line = buffers
    height, width, size = source.shape[0], source.shape[1], out.shape[1]
    row_step, column_step, channel_step = source.strides
    # A pixel is read as one word of four bytes wherever the fourth byte lies inside the picture: in all columns but the
    # last in memory. Where the channels lie backwards (RGB seen in BGR), they also do in `transposed` and `middle`.
    backwards = channel_step < 0
    corner = 2 * channel_step if backwards else 0
    begin = 1 if column_step < 0 else 0
    end = begin + width - 1 if abs(channel_step) == 1 and abs(column_step) >= 3 else begin
    row_taps, column_taps = np.uintp(row_weights.size // size), np.uintp(column_weights.size // size)
    lanes, row_lanes = np.uintp(_LANES), np.uintp(3 * size)
    stride = 3 * size + 1
    for top in range(0, height, _ROWS):
        count = min(_ROWS, height - top)
        # transposed, a column of pixels becomes a row of bytes; the next word overwrites the fourth byte of this one
        for x in range(begin, end):
            at = top * row_step + x * column_step + corner
            for row in range(count):
                _store(transposed, x * _LANES + 3 * row, _load(source, at + row * row_step))
        for x in range(width):
            if begin <= x < end:
                continue
            for row in range(count):
                for channel in range(3):
                    place = 2 - channel if backwards else channel
                    transposed[x * _LANES + 3 * row + place] = source[top + row, x, channel]
        for x in range(size):
            first = np.uintp(column_first[x]) * lanes
            _weigh(sums, lanes, transposed, first, lanes, column_weights, np.uintp(x) * column_taps, column_taps)
            for lane in range(_LANES):
                line[lane] = max(0, min(255, sums[lane] >> _BITS))
            for row in range(count):
                _store(middle, (top + row) * stride + 3 * x, _load(line, 3 * row))
    for y in range(size):
        first = np.uintp(row_first[y]) * np.uintp(stride)
        _weigh(sums, row_lanes, middle, first, np.uintp(stride), row_weights, np.uintp(y) * row_taps, row_taps)
        for lane in range(3 * size):
            line[lane] = max(0, min(255, sums[lane] >> _BITS))
        for channel in range(3):
            place = 2 - channel if backwards else channel
            for x in range(size):
                out[channel, y, x] = table[channel, line[3 * x + place]]
