"""hydrart slice"""

import os
from pathlib import Path

import pytest

from hydrart.format.reader import WeightFile
from tests.support.commands import good, unsealed


@pytest.mark.parametrize("as_json", [False, True])
def test_slice(as_json: bool, weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "cut.safetensors"
    shown = good("slice", weights, "--heads", 5, "-o", output, *["--json"] * as_json).stdout
    cut, whole = WeightFile(output), WeightFile(weights)
    assert cut.heads == (3, 4, 5) and bytes(cut.data) == bytes(whole.data[: whole.end(5)])
    assert [path.name for path in tmp_path.iterdir()] == ["cut.safetensors"], "nothing else is left"
    if as_json:
        size = output.stat().st_size
        assert unsealed(shown) == {"output": str(output), "heads": [3, 4, 5], "bytes": size}
    else:
        assert str(output) in shown and len(shown.splitlines()) == 1


def test_a_killed_slice_leaves_nothing_for_good(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "six.safetensors"
    left = tmp_path / ".hydrart-0123abcd"
    left.mkdir()
    (left / "six.safetensors").write_bytes(bytes(1000))
    os.utime(left, (0, 0))
    good("slice", weights, "--heads", 6, "-o", output)
    assert [path.name for path in tmp_path.iterdir()] == ["six.safetensors"]
