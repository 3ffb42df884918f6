"""Memory of processes."""

from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.bench import memory
from hydrart.format.reader import WeightFile
from tests.support.commands import TINY, Make
from tests.support.networks import make_file


def test_resident_memory(tmp_path: Path) -> None:
    before = memory.resident()
    assert before is not None and before > 1_000_000
    touched = np.ones(40_000_000, np.uint8)
    after = memory.resident()
    assert after is not None and after - before > 30_000_000
    weights = make_file(tmp_path / "own.safetensors")  # no other test has it mapped
    file = WeightFile(weights)
    assert int(file.data.sum()) and touched.any()
    assert memory.resident_of(weights) == pytest.approx(weights.stat().st_size, abs=5000)
    assert memory.resident_of(weights.parent / "none") is None


def test_a_process_that_fails_is_told_of(weights: Path) -> None:
    with pytest.raises(hydrart.HydrartError, match=r"the process whose memory is measured failed .*k=99"):
        memory.first_call(weights, "fp32", weights, 99, 1)


def test_the_first_call_of_a_process(make_weights: Make) -> None:
    path = make_weights(TINY)
    found = memory.first_call(path, "fp32", make_weights(TINY, seed=1), 3, 1)
    assert found.kernels_ms > 0 and found.load_ms > 0 and found.first_ms > 0
    assert found.mapped_mb is not None and 0 < found.mapped_mb <= (path.stat().st_size + 4096) / 1e6


def test_growth_stops_after_so_many_switches(make_weights: Make) -> None:
    found = memory.growth(make_weights(TINY), 50, 100)
    assert found.switches == 50 and found.growth_kb is not None and abs(found.growth_kb) < 10_000
    assert memory.growth(make_weights(TINY), 50, 0).switches == 0, "no time is left"
