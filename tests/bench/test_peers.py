"""Other runtimes: which there are, and that each computes the network of the weight file."""

import os

import numpy as np
import pytest

import hydrart
from hydrart.bench.peers import PEERS, make_peer
from hydrart.errors import MissingExtraError, SettingError
from hydrart.format.reader import WeightFile
from tests.support.benching import available, needs
from tests.support.commands import TINY, Make


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
