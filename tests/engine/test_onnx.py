"""The ONNX export, the engine over it, and the runtimes that hydrart is compared with, against the reference."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.bench.peers import PEERS, make_peer
from hydrart.engine import onnx_export, reference
from hydrart.engine.onnx_engine import OnnxEngine
from hydrart.errors import HeadsError, MissingExtraError, SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.networks import SMALL

FloatArray = NDArray[np.float32]
Make = Callable[..., Path]


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


onnx_installed = pytest.mark.skipif(
    not installed("onnx", "onnxruntime"), reason="onnx and onnxruntime are not installed (extra: onnx)"
)
NEEDS = {
    "onnxruntime": (("onnx", "onnxruntime"), "onnx"),
    "openvino": (("onnx", "onnxruntime", "openvino"), "bench"),
    "torch": (("torch",), "train"),
}
SHAPES = {
    "heads of 16": SMALL,
    "heads of 32": replace(SMALL, head_dim=32, depth=3, image_size=30, patch=6, classes=3),
    "one block": replace(SMALL, head_dim=64, depth=1, image_size=21, patch=7, heads=(2, 4)),
    "layer scale": replace(SMALL, layer_scale=True),
    "separate classifiers": replace(SMALL, separate_classifiers=True),
}


@pytest.fixture
def torch_threads() -> Iterator[None]:
    """Put back PyTorch's thread count, which is the whole process's."""
    if not installed("torch"):
        yield
        return
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pictures(arch: Architecture, batch: int = 1) -> FloatArray:
    shape = (batch, arch.channels, arch.image_size, arch.image_size)
    return np.random.default_rng(batch).standard_normal(shape).astype(np.float32)


def expected(file: WeightFile, x: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """The reference's logits and features."""
    arch, state = file.meta.architecture, dict(file.state(k))
    features = reference.features(state, arch, x, k)
    return reference.classify(state, arch, features, k), features


def close(got: FloatArray, wanted: FloatArray, bound: float = 1e-4) -> None:
    assert got.dtype == np.float32 and got.shape == wanted.shape
    assert np.abs(wanted).max() > 0.1, "the comparison would tell nothing of zeros"
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


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


@pytest.mark.parametrize(
    ("name", "precision", "arch", "plain"),
    [
        *((name, precision, "heads of 16", False) for name, precisions in PEERS.items() for precision in precisions),
        *((name, "fp32", arch, True) for name in PEERS for arch in ("layer scale", "separate classifiers")),
    ],
)
def test_a_peer_equals_the_reference(
    make_weights: Make, torch_threads: None, name: str, precision: str, arch: str, plain: bool
) -> None:
    modules, extra = NEEDS[name]
    if (name, precision) == ("openvino", "int8"):
        modules, extra = (*modules, "nncf"), "nncf"
    if not installed(*modules):
        pytest.skip(f"{', '.join(modules)} are not installed (extra: {extra})")
    file = WeightFile(make_weights(SHAPES[arch]))
    environment = dict(os.environ)
    peer = make_peer(name, file, precision, threads=2, plain=plain)
    assert dict(os.environ) == environment, "whether telemetry is off is no other program's affair"
    assert (peer.name, peer.precision, peer.threads, peer.executed) == (name, precision, 2, "")
    assert peer.version[0].isdigit()
    for k in (3, 12):
        run = peer.prepare(k)
        for x in (pictures(SMALL)[:1], pictures(SMALL, 2)[1:]):
            logits, wanted = run(x), expected(file, x, k)[0]
            if precision == "fp32":
                close(logits, wanted, 1e-3)
            else:
                assert logits.shape == (1, 10) and np.corrcoef(logits, wanted)[0, 1] > 0.9
        assert peer.executed in {"bf16": ("bf16", "fp32")}.get(precision, (precision,))
    with pytest.raises(HeadsError):
        peer.prepare(99)


def test_unknown_peers_are_errors(weights: Path) -> None:
    file = WeightFile(weights)
    with pytest.raises(SettingError, match=r"'tvm'.*onnxruntime, openvino, torch"):
        make_peer("tvm", file)
    with pytest.raises(SettingError, match="torch is not measured in int8: choose from fp32"):
        make_peer("torch", file, "int8")


@pytest.mark.parametrize(
    ("missing", "make", "extra"),
    [
        ("onnxruntime", lambda file: OnnxEngine(file, 1), "onnx"),
        ("onnx", lambda file: onnx_export.export(file.state(3), SMALL, 3), "onnx"),
        ("onnxruntime", lambda file: make_peer("onnxruntime", file), "bench"),
        ("openvino", lambda file: make_peer("openvino", file), "bench"),
        ("nncf", lambda file: make_peer("openvino", file, "int8"), "nncf"),
        ("torch", lambda file: make_peer("torch", file), "train"),
    ],
)
def test_a_missing_library_names_its_extra(
    weights: Path, monkeypatch: pytest.MonkeyPatch, missing: str, make: Callable[[WeightFile], object], extra: str
) -> None:
    if missing in ("openvino", "nncf") and not installed(*NEEDS["openvino"][0]):
        pytest.skip("openvino is not installed (extra: bench)")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=re.escape(f": install it with: {install_command(extra)}") + "$"):
        make(WeightFile(weights))


def test_none_of_them_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, hydrart, hydrart.bench.peers, hydrart.engine.onnx_engine\n"
        "print(sorted({'onnx', 'onnxruntime', 'openvino', 'nncf', 'torch', 'psutil', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
