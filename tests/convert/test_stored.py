"""convert/stored.py: floats of every width become float32."""

import numpy as np
import pytest

from hydrart.convert.stored import as_float32, integers


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_stay(dtype: type[np.floating]) -> None:
    values = np.array([0, -1.5, 3.25, np.inf, np.nan], dtype)
    found = as_float32(values)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0, -1.5, 3.25, np.inf, np.nan], np.float32))


def test_uint16_holds_the_bits_of_bf16() -> None:
    np.testing.assert_array_equal(as_float32(np.array([0x3FC0, 0xC000, 0x7F80], np.uint16)), [1.5, -2.0, np.inf])


def test_an_aligned_float32_tensor_is_not_copied() -> None:
    memory = np.zeros(17, np.uint8)
    start = -memory.ctypes.data % 4
    aligned = memory[start : start + 12].view(np.float32)
    assert np.shares_memory(as_float32(aligned), memory)
    shifted = memory[start + 1 : start + 13].view(np.float32)
    assert not shifted.flags.aligned and not np.shares_memory(as_float32(shifted), memory)


def test_a_number_too_large_becomes_infinite_without_a_warning() -> None:
    assert as_float32(np.array([1e300])).tolist() == [np.inf]


def test_why_integers_are_no_use() -> None:
    assert integers("int8").why == "holds int8 numbers: convert the float checkpoint instead"
