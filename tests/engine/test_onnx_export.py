"""engine/onnx_export.py, by ONNX Runtime, against the reference."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hydrart.engine import onnx_export
from hydrart.errors import HeadsError, MissingExtraError
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.answers import SHAPES, close, expected, onnx_installed, pictures
from tests.support.networks import SMALL

Make = Callable[..., Path]


@onnx_installed
@pytest.mark.parametrize("all_tokens", [False, True], ids=["pruned", "plain"])
@pytest.mark.parametrize(("gemm", "batch"), [(True, None), (False, 2)], ids=["Gemm, any batch", "MatMul, batch 2"])
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES)
def test_the_export_equals_the_reference(
    make_weights: Make, arch: Architecture, gemm: bool, batch: int | None, all_tokens: bool
) -> None:
    import onnx
    import onnxruntime

    file = WeightFile(make_weights(arch))
    x = pictures(arch, batch or 3)
    for k in (arch.heads[0], arch.heads[-1]):
        model = onnx_export.export(file.state(k), arch, k, batch=batch, gemm=gemm, all_tokens=all_tokens)
        onnx.checker.check_model(model, full_check=True)
        assert {node.name for node in model.graph.node} >= set(onnx_export.attention_nodes(arch))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        logits, features = session.run(["logits", "features"], {"input": x})
        close(logits, expected(file, x, k)[0])
        close(features, expected(file, x, k)[1])


@onnx_installed
def test_the_export_cuts_a_prefix_of_a_larger_network(weights: Path) -> None:
    file = WeightFile(weights)
    small, large = (
        onnx_export.export(file.state(k), file.meta.architecture, 5).SerializeToString(deterministic=True)
        for k in (5, 12)
    )
    assert small == large


@onnx_installed
def test_only_trained_heads_are_exported(weights: Path) -> None:
    with pytest.raises(HeadsError, match="k=13"):
        onnx_export.export(WeightFile(weights).state(12), SMALL, 13)


def test_without_onnx_it_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=re.escape(f": install it with: {install_command('onnx')}") + "$"):
        onnx_export.export(WeightFile(weights).state(3), SMALL, 3)
