"""The tables in which the kernels merge tokens (kernels/merging.py)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.engine.kernels.gemm import ROWS
from hydrart.engine.kernels.merging import key_bias_bytes, metric_row_bytes
from hydrart.engine.kernels.state import MERGING
from hydrart.format.architecture import Architecture


class MergingTables:
    """Tables for at most so many pictures. They are allocated when a call first merges tokens."""

    def __init__(self, arch: Architecture, batch: int) -> None:
        self._arch, self._batch = arch, batch
        self._record: NDArray[Any] = np.zeros(1, MERGING)
        self._tables: dict[str, NDArray[Any]] = {}

    def address(self, merges: Sequence[int]) -> int:
        """The address of the MERGING record for a call in which the blocks merge so many tokens."""
        if not self._tables:
            self._allocate()
        self._tables["schedule"][:] = merges
        return _address(self._record)

    def _allocate(self) -> None:
        arch, batch, head_dim = self._arch, self._batch, self._arch.head_dim
        tokens = arch.tokens(arch.heads[-1])
        rows = batch * tokens + 2 * ROWS  # a strip of every other row may begin at the last one
        bias_bytes = key_bias_bytes(tokens)
        counts = np.maximum(np.arange(tokens + 1), 1)
        self._tables = {
            "schedule": np.zeros(arch.depth, np.int64),
            "logarithms": (np.log(counts) * np.sqrt(head_dim)).astype(np.float32),
            "metric": np.zeros((rows, metric_row_bytes(head_dim) // 4), np.float32),
            "places": np.zeros((batch, tokens), np.int32),
            "sizes": np.zeros((2, batch, tokens), np.int32),
            "key_bias": np.zeros((batch, bias_bytes // 4), np.float32),
        }
        for name, table in self._tables.items():
            self._record[name] = _address(table)
        self._record["sizes_bytes"] = self._tables["sizes"].strides[0]
        self._record["key_bias_bytes"] = bias_bytes


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
