"""engine/onnx_nested.py, by ONNX Runtime and OpenVINO, against the reference."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.engine import onnx_export
from hydrart.engine.onnx_nested import export_nested
from hydrart.errors import HeadsError, MissingExtraError, SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.answers import SHAPES, close, expected, onnx_installed, pictures
from tests.support.networks import SMALL

Make = Callable[..., Path]


@onnx_installed
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES)
def test_every_k_equals_the_reference(make_weights: Make, arch: Architecture) -> None:
    import onnx
    import onnxruntime

    file = WeightFile(make_weights(arch))
    model = export_nested(file.state(arch.heads[-1]), arch, arch.heads[-1])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for k in arch.heads:
        x = pictures(arch, 3)
        logits, features = session.run(["logits", "features"], {"input": x, "k": np.array(k)})
        close(logits, expected(file, x, k)[0])
        close(features, expected(file, x, k)[1])


@onnx_installed
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES)
def test_openvino_runs_it(make_weights: Make, arch: Architecture) -> None:
    openvino: Any = pytest.importorskip("openvino", reason="OpenVINO is not installed (extra: bench)")
    file = WeightFile(make_weights(arch))
    core = openvino.Core()
    model = core.read_model(export_nested(file.state(arch.heads[-1]), arch, arch.heads[-1]).SerializeToString())
    run = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    for k in arch.heads:
        x = pictures(arch, 2)
        close(run({"input": x, "k": np.array(k)})["logits"], expected(file, x, k)[0])


@onnx_installed
def test_it_may_end_at_any_k(weights: Path) -> None:
    import onnxruntime

    file = WeightFile(weights)
    model = export_nested(file.state(12), SMALL, 5).SerializeToString()
    assert len(model) < 1.2 * 4 * SMALL.parameters(5), "weights beyond k=5 are not in it"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = pictures(SMALL)
    for k in (3, 4, 5):
        close(session.run(["logits"], {"input": x, "k": np.array(k)})[0], expected(file, x, k)[0])


@onnx_installed
def test_what_cannot_be_exported(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = WeightFile(weights)
    with pytest.raises(HeadsError, match="k=13"):
        export_nested(file.state(12), SMALL, 13)
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 1000)
    with pytest.raises(SettingError, match=r"k=3 has .* bytes"):
        export_nested(file.state(3), SMALL, 3)


def test_without_onnx_it_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=re.escape(f": install it with: {install_command('onnx')}") + "$"):
        export_nested(WeightFile(weights).state(3), SMALL, 3)
