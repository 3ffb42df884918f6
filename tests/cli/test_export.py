"""`hydrart export`."""

import sys
from pathlib import Path

import pytest

from hydrart.installation import install_command
from tests.support.commands import call, good, sentence, unsealed
from tests.support.json_page import check

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: onnx)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")


def test_a_model_is_written_and_reported(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.onnx"
    text = good("export", weights, "-o", output, "--heads", 6).stdout
    assert f"{output}: k=6" in text and "ONNX Runtime and the reference" in text
    report = unsealed(good("export", weights, "-o", output, "--json").stdout)
    check("hydrart export", [report])
    assert report["heads"] == 12 and report["bytes"] == output.stat().st_size and report["opset"] == 20
    assert 0 < report["max_difference"] < 1e-4


def test_one_model_of_every_k(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.onnx"
    assert f"{output}: k=3-12, " in good("export", weights, "-o", output, "--heads", "all").stdout
    report = unsealed(good("export", weights, "-o", output, "--heads", "all", "--json").stdout)
    check("hydrart export", [report])
    assert report["every_k"] and report["heads"] == 12 and report["bytes"] == output.stat().st_size
    onnx.checker.check_model(str(output), full_check=True)


def test_the_name_of_a_file_that_ships(tmp_path: Path) -> None:
    good("export", "hydravit-cifar10", "-o", tmp_path / "a.onnx", "--heads", 3)
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)


def test_bad_input_is_one_sentence(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.onnx"
    assert "k=13 was not trained" in sentence("export", weights, "-o", output, "--heads", 13)
    assert "nothing.safetensors does not exist" in sentence("export", "nothing.safetensors", "-o", output)
    assert "neither a file nor" in sentence("export", "hydravit-cifar100000", "-o", output)
    assert "No such file" in sentence("export", weights, "-o", tmp_path / "missing" / "a.onnx")
    assert not list(tmp_path.iterdir())
    same = tmp_path / "w.onnx"
    same.write_bytes(weights.read_bytes())
    assert "is the input itself" in sentence("export", same, "-o", same)
    assert same.read_bytes() == weights.read_bytes()
    for arguments in ((weights,), (weights, "-o", "a.safetensors"), (weights, "-o", output, "--heads", "every")):
        assert call("export", *arguments).exit_code == 2


def test_a_missing_extra_is_one_sentence(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = sentence("export", weights, "-o", tmp_path / "a.onnx")
    assert said.endswith(install_command("onnx"))


def test_without_onnx_runtime_it_says_so(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "not compared" in good("export", weights, "-o", tmp_path / "a.onnx").stdout
