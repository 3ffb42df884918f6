"""The tables in which the kernels merge tokens."""

import ctypes
from typing import Any

import numpy as np

from hydrart.engine.kernels.state import MERGING
from hydrart.engine.merging_tables import MergingTables
from tests.support.networks import SMALL


def values(record: Any, name: str, count: int, dtype: str) -> Any:
    """Numbers that a field of the record points to."""
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(int(record[name]), size), dtype)


def test_the_record_has_the_schedule_of_the_call_and_the_logarithms_of_sizes() -> None:
    tables = MergingTables(SMALL, 2)
    first = tables.address((4, 2))
    assert tables.address((3, 0)) == first, "the tables stay where they are"
    record = np.frombuffer(ctypes.string_at(first, MERGING.itemsize), MERGING)[0]
    assert values(record, "schedule", SMALL.depth, "int64").tolist() == [3, 0]
    wanted = np.log(np.arange(1, 18)) * np.sqrt(SMALL.head_dim)
    np.testing.assert_allclose(values(record, "logarithms", 18, "float32")[1:], wanted, rtol=1e-6)
    assert record["sizes_bytes"] == 2 * 17 * 4
    assert record["key_bias_bytes"] >= 17 * 4
