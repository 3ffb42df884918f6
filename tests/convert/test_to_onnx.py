"""convert/to_onnx.py: an ONNX model of one k, checked before it appears."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.convert import to_onnx
from hydrart.convert.output import ConvertError
from hydrart.engine import reference
from hydrart.errors import HeadsError, WeightFileError
from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tests.support.networks import CIFAR, GRID_LOOKS, SMALL, make_file

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed (extra: onnx)")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")

Make = Callable[..., Path]


def properties(path: Path) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("k", [3, 7, 12])
def test_the_model_answers_as_the_reference(make_weights: Make, tmp_path: Path, precision: str, k: int) -> None:
    file = WeightFile(make_weights(SMALL, precision))
    done = to_onnx.write_onnx(file, tmp_path / "a.onnx", k)
    assert (done.output, done.k, done.size) == (tmp_path / "a.onnx", k, (tmp_path / "a.onnx").stat().st_size)
    assert done.difference is not None and 0 < done.difference < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 32, 32)).astype(np.float32)
        logits = session.run(["logits"], {"input": x})[0]
        state, arch = file.state(k), file.meta.architecture
        expected = reference.classify(state, arch, reference.features(state, arch, x, k), k)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        assert np.abs(expected).max() > 0.1


def test_it_says_how_it_is_used(weights: Path, tmp_path: Path) -> None:
    file = WeightFile(weights)
    accuracy = Accuracy("made up", 10, {k: k / 20 for k in file.heads})
    path = tmp_path / "w.safetensors"
    copy_prefix(file, path, replace(file.meta, accuracy=accuracy, licence="MIT", source="x.pth", source_sha256="ab"))
    assert to_onnx.write_onnx(WeightFile(path), tmp_path / "a.onnx").k == 12
    found = properties(tmp_path / "a.onnx")
    assert found["labels"] == list(CIFAR) and found["licence"] == "MIT" and found["heads"] == 12
    assert found["source"] == {"name": "x.pth", "sha256": "ab"}
    assert found["accuracy"] == {"dataset": "made up", "top1": 0.6}
    spec = file.meta.preprocessing
    told = found["preprocessing"]
    assert (told["size"], told["crop"], told["colour"]) == (32, 1.0, "RGB")
    assert (tuple(told["mean"]), tuple(told["std"])) == (spec.mean, spec.std)
    model = onnx.load(tmp_path / "a.onnx")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert "float32 [batch, 3, 32, 32]" in model.doc_string


def test_a_model_of_every_k(make_weights: Make, tmp_path: Path) -> None:
    file = WeightFile(make_weights())
    path, copy = tmp_path / "a.onnx", tmp_path / "w.safetensors"
    copy_prefix(file, copy, replace(file.meta, accuracy=Accuracy("made up", 10, {k: k / 20 for k in file.heads})))
    done = to_onnx.write_onnx(WeightFile(copy), path, every=True)
    assert done.k == 12 and done.difference is not None and 0 < done.difference < 1e-4
    found = properties(path)
    assert found["heads"] == list(SMALL.heads)
    assert found["accuracy"]["top1"] == {str(k): k / 20 for k in file.heads}
    assert "The input 'k'" in onnx.load(path).doc_string
    assert path.stat().st_size < 1.1 * 4 * SMALL.parameters(12), "it holds the weights once"


def test_without_onnx_runtime_it_is_written_and_not_compared(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert to_onnx.write_onnx(WeightFile(weights), tmp_path / "a.onnx", 3).difference is None
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)


def test_a_model_that_answers_otherwise_is_not_kept(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = to_onnx._runtime_logits
    for wrong in (0.001, np.nan):
        monkeypatch.setattr(to_onnx, "_runtime_logits", lambda *a, wrong=wrong: real(*a) + np.float32(wrong))
        with pytest.raises(ConvertError, match=r"differ from the reference by .* at k=3, so no file was kept"):
            to_onnx.write_onnx(WeightFile(weights), tmp_path / "a.onnx", 3)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(make_weights: Make, tmp_path: Path) -> None:
    path = make_weights()
    content = path.read_bytes()
    with pytest.raises(HeadsError, match="k=13"):
        to_onnx.write_onnx(WeightFile(path), tmp_path / "a.onnx", 13)
    with pytest.raises(ConvertError, match="is the input itself"):
        to_onnx.write_onnx(WeightFile(path), path, 3)
    assert path.read_bytes() == content
    damaged = bytearray(content)
    damaged[-5000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightFileError, match="damaged"):
        to_onnx.write_onnx(WeightFile(path), tmp_path / "a.onnx", 3)
    assert [name.name for name in tmp_path.iterdir()] == [path.name]


def test_a_network_of_several_looks_is_refused(tmp_path: Path) -> None:
    file = WeightFile(make_file(tmp_path / "x.safetensors", GRID_LOOKS))
    with pytest.raises(ConvertError, match="several looks, which cannot be exported: take another network"):
        to_onnx.write_onnx(file, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
