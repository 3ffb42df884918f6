"""Other runtimes: which there are, and that each computes the network of the weight file."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.bench.peers import PEERS, make_peer
from hydrart.bench.signal_stack import signal_stack
from hydrart.errors import HeadsError, MissingExtraError, SettingError
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.answers import SHAPES, close, expected, installed, pictures
from tests.support.benching import available, needs
from tests.support.commands import TINY, Make
from tests.support.networks import SMALL

NEEDS = {
    "onnxruntime": (("onnx", "onnxruntime"), "onnx"),
    "openvino": (("onnx", "onnxruntime", "openvino"), "bench"),
    "torch": (("torch",), "train"),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("plain", [False, True])
def test_a_peer_computes_what_the_reference_does(name: str, plain: bool, make_weights: Make) -> None:
    needs(name)
    path = make_weights(TINY)
    peer = make_peer(name, WeightFile(path), threads=1, plain=plain)
    assert (peer.name, peer.precision, peer.executed, peer.threads, peer.plain) == (name, "fp32", "", 1, plain)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    reference = hydrart.load(path, backend="reference")
    for k in TINY.heads:
        logits = peer.prepare(k)(x)
        np.testing.assert_allclose(logits, reference.logits(x, k), atol=1e-4)
        assert peer.executed == "fp32" and peer.version


def test_int8_in_onnx_runtime_quantises_every_linear_layer(make_weights: Make) -> None:
    needs("onnxruntime")
    path = make_weights(TINY)
    peer = make_peer("onnxruntime", WeightFile(path), "int8")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    logits, exact = peer.prepare(3)(x), hydrart.load(path, backend="reference").logits(x, 3)
    assert peer.executed == "int8" and 0 < np.abs(logits - exact).max() < np.abs(exact).max() / 2


def test_openvino_reports_nothing_and_leaves_the_environment(make_weights: Make) -> None:
    needs("openvino")
    before = dict(os.environ)
    make_peer("openvino", WeightFile(make_weights(TINY)))
    assert dict(os.environ) == before


def test_what_there_is_not(make_weights: Make) -> None:
    file = WeightFile(make_weights(TINY))
    with pytest.raises(SettingError, match="choose from onnxruntime, openvino, torch"):
        make_peer("tensorflow", file)
    for name in available():
        with pytest.raises(SettingError, match=f"{name} is not measured in int4: choose from fp32"):
            make_peer(name, file, "int4")
    for name in set(PEERS) - set(available()):
        with pytest.raises(MissingExtraError, match="install it with: "):
            make_peer(name, file)


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
    environment, stack = dict(os.environ), signal_stack().address
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
        assert signal_stack().address == stack, "the next Ctrl-C would end the process"
    del run
    assert signal_stack().address == stack
    with pytest.raises(HeadsError):
        peer.prepare(99)


def test_unknown_peers_are_errors(weights: Path) -> None:
    file = WeightFile(weights)
    with pytest.raises(SettingError, match=r"'tvm'.*onnxruntime, openvino, torch"):
        make_peer("tvm", file)
    with pytest.raises(SettingError, match="torch is not measured in int8: choose from fp32"):
        make_peer("torch", file, "int8")


@pytest.mark.parametrize(
    ("missing", "name", "precision", "extra"),
    [
        ("onnxruntime", "onnxruntime", "fp32", "bench"),
        ("openvino", "openvino", "fp32", "bench"),
        ("nncf", "openvino", "int8", "nncf"),
        ("torch", "torch", "fp32", "train"),
    ],
)
def test_a_missing_library_names_its_extra(
    weights: Path, monkeypatch: pytest.MonkeyPatch, missing: str, name: str, precision: str, extra: str
) -> None:
    if missing in ("openvino", "nncf") and not installed(*NEEDS["openvino"][0]):
        pytest.skip("openvino is not installed (extra: bench)")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=re.escape(f": install it with: {install_command(extra)}") + "$"):
        make_peer(name, WeightFile(weights), precision)


def test_none_of_them_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, hydrart, hydrart.bench.peers, hydrart.engine.onnx_engine\n"
        "print(sorted({'onnx', 'onnxruntime', 'openvino', 'nncf', 'torch', 'psutil', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
