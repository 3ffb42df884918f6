"""engine/onnx_engine.py against the reference."""

import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hydrart.engine import onnx_export
from hydrart.engine.onnx_engine import OnnxEngine
from hydrart.errors import HeadsError, MissingExtraError, SettingError
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.answers import close, expected, onnx_installed, pictures
from tests.support.networks import SMALL

Make = Callable[..., Path]


@onnx_installed
def test_a_network_too_large_for_onnx_is_an_error(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 1000)
    with pytest.raises(SettingError, match=r"k=3 has .* bytes"):
        OnnxEngine(WeightFile(weights), 1).logits(pictures(SMALL), 3)


@onnx_installed
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_engine_equals_the_reference(make_weights: Make, precision: str) -> None:
    file = WeightFile(make_weights(precision=precision))
    engine = OnnxEngine(file, 2)
    assert (engine.name, engine.threads) == ("onnxruntime", 2)
    for k, batch in ((12, 1), (3, 2), (12, 5), (3, 0)):
        x = pictures(SMALL, batch)
        logits, features = engine.logits(x, k), engine.features(x, k)
        assert logits.shape == (batch, 10) and features.shape == (batch, k * 16)
        if batch:
            close(logits, expected(file, x, k)[0])
            close(features, expected(file, x, k)[1])


@onnx_installed
def test_the_engine_takes_the_cores_it_may_use_and_only_trained_heads(weights: Path) -> None:
    engine = OnnxEngine(WeightFile(weights), None)
    assert engine.threads == len(os.sched_getaffinity(0))
    with pytest.raises(HeadsError, match="k=13"):
        engine.features(pictures(SMALL), 13)


@onnx_installed
def test_the_engine_answers_several_threads(weights: Path) -> None:
    file = WeightFile(weights)
    engine = OnnxEngine(file, 1)
    x = pictures(SMALL)
    wanted = {k: expected(file, x, k)[0] for k in (3, 7, 12)}
    ks = [3, 7, 12] * 16
    with ThreadPoolExecutor(8) as pool:
        for k, logits in zip(ks, pool.map(lambda k: engine.logits(x, k), ks), strict=True):
            close(logits, wanted[k])


def test_without_onnx_runtime_it_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=re.escape(f": install it with: {install_command('onnx')}") + "$"):
        OnnxEngine(WeightFile(weights), 1)
