"""precision=: a file, or one of another precision beside it."""

from dataclasses import replace
from pathlib import Path

import pytest

import hydrart
from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tests.support.networks import SMALL, make_file


def family(folder: Path, **losses: float) -> Path:
    """An fp32 file, and others that lost so much of their top-1 at k=12 (None: nothing is recorded)."""
    path = folder / "net.safetensors"
    for precision, loss in {"fp32": 0.0, **losses}.items():
        name = path if precision == "fp32" else folder / f"net-{precision}.safetensors"
        file = WeightFile(make_file(name, SMALL, precision))
        top1 = {k: 0.8 - (loss if k == 12 else 0) for k in SMALL.heads}
        copy_prefix(file, name, replace(file.meta, accuracy=Accuracy("test", 100, top1)))
    return path


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ({}, "fp32"),
        ({"int8": 0.002}, "int8"),
        ({"int8": 0.004}, "fp32"),
        ({"int8": 0.004, "bf16": 0.001}, "bf16"),
        ({"int8": -0.1, "bf16": 0.0}, "int8"),
    ],
)
def test_auto_is_the_fastest_that_is_as_accurate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: dict[str, float], chosen: str
) -> None:
    monkeypatch.setattr("hydrart.engine.variants._fastest", lambda: ("int8", "bf16", "fp32"))
    path = family(tmp_path, **losses)
    assert hydrart.load(path).precision == chosen
    assert hydrart.load(path, precision="fp32").precision == "fp32"
    assert hydrart.load(path, backend="reference").precision == "fp32"


def test_a_precision_is_found_beside_the_file(tmp_path: Path) -> None:
    path = family(tmp_path, int8=0.5)
    assert hydrart.load(path, precision="int8").precision == "int8"
    with pytest.raises(hydrart.SettingError, match="stores fp32, not bf16: make such a file with"):
        hydrart.load(path, precision="bf16")


def test_what_was_lost_is_made_from_the_checkpoint(tmp_path: Path) -> None:
    path = make_file(tmp_path / "net.safetensors", precision="int8")
    for precision in ("fp32", "bf16"):
        with pytest.raises(hydrart.SettingError, match=r"hydrart convert CHECKPOINT \(from made up\) --precision"):
            hydrart.load(path, precision=precision)


def test_another_network_beside_the_file_is_none_of_its_precisions(tmp_path: Path) -> None:
    path = family(tmp_path)
    make_file(tmp_path / "net-int8.safetensors", replace(SMALL, depth=3), "int8")
    assert hydrart.load(path).precision == "fp32"
    (tmp_path / "net-int8.safetensors").write_bytes(b"nothing")
    assert hydrart.load(path).precision == "fp32"


def test_without_recorded_accuracy_the_file_itself_is_taken(tmp_path: Path) -> None:
    path = make_file(tmp_path / "net.safetensors")
    make_file(tmp_path / "net-int8.safetensors", precision="int8")
    assert hydrart.load(path).precision == "fp32"
