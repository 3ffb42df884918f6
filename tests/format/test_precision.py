"""precision.py: what is stored of a number, by hand and by bits."""

import struct

import numpy as np
import pytest

from hydrart.codegen.isa import ISAS
from hydrart.format.precision import BF16, FP32, INT8, PRECISIONS


def bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def number(word: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", word & 0xFFFFFFFF))[0])


def test_the_table() -> None:
    found = {p.name: (p.dtype, p.bytes, p.per, p.scaled, p.outer.name) for p in PRECISIONS.values()}
    assert found == {
        "fp32": ("F32", 4, 1, False, "fp32"),
        "bf16": ("BF16", 2, 2, False, "bf16"),
        "int8": ("I8", 1, 4, True, "bf16"),
    }
    assert list(PRECISIONS) == list(found)


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_every_instruction_set_has_arithmetic_for_every_precision(isa: object) -> None:
    for name in PRECISIONS:
        assert isinstance(isa.dot(name), str)  # type: ignore[attr-defined]


def test_fp32_is_the_number_itself() -> None:
    rows = np.array([[1.5, -0.0, 3e-40], [1e38, 7.0, -2.25]], np.float32)
    stored, scales = FP32.encode(rows)
    assert scales is None and stored.dtype == np.dtype("<f4") and stored.tobytes() == rows.tobytes()
    assert FP32.decode(stored).tobytes() == rows.tobytes()


def test_bf16_is_the_nearest_of_its_two_neighbours() -> None:
    rows = np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)
    stored, scales = BF16.encode(rows)
    assert scales is None and stored.dtype == np.dtype("<u2") and stored.shape == rows.shape
    decoded = BF16.decode(stored)
    assert decoded.dtype == np.float32
    for value, got in zip(rows.flat, decoded.flat, strict=True):
        below = bits(float(value)) & 0xFFFF0000
        neighbours = number(below), number(below + 0x10000)
        assert float(got) in neighbours
        assert abs(float(got) - float(value)) == min(abs(n - float(value)) for n in neighbours)


@pytest.mark.parametrize(("word", "kept"), [(0x3F808000, 0x3F80), (0x3F818000, 0x3F82), (0x3F808001, 0x3F81)])
def test_bf16_ties_go_to_the_even_number(word: int, kept: int) -> None:
    stored, _ = BF16.encode(np.array([[number(word)]], np.float32))
    assert int(stored[0, 0]) == kept
    assert float(BF16.decode(stored)[0, 0]) == number(kept << 16)


def test_int8_has_a_scale_per_output() -> None:
    rows = np.array([[254.0, -127.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0], [0.5, -1.0, 0.25, 0.0]], np.float32)
    stored, scales = INT8.encode(rows)
    assert scales is not None and scales.dtype == np.float32
    np.testing.assert_array_equal(scales, np.array([2, 1, np.float32(1) / np.float32(127)], np.float32))
    # 127 / 2 and 1 / 2 lie between two integers: the even one is taken
    np.testing.assert_array_equal(stored, np.array([[127, -64, 0, 2], [0, 0, 0, 0], [64, -127, 32, 0]], np.int8))
    np.testing.assert_allclose(INT8.decode(stored, scales)[0], [254, -128, 0, 4])


def test_int8_is_within_half_a_step() -> None:
    rows = np.random.default_rng(1).standard_normal((32, 48)).astype(np.float32)
    stored, scales = INT8.encode(rows)
    assert scales is not None and stored.dtype == np.int8
    assert np.abs(stored).max(axis=1).tolist() == [127] * 32
    decoded = INT8.decode(stored, scales)
    assert decoded.dtype == np.float32
    assert (np.abs(decoded - rows) <= scales[:, None] * 0.50001).all()
