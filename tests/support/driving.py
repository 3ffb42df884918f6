"""Call parts of the network one by one, on an engine's buffers."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.engine import reference
from hydrart.engine.kernels import block as blocks
from hydrart.engine.kernels import class_tokens, forward, layers
from hydrart.engine.native import NativeEngine
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from tests.support.jitted import jitted
from tests.support.networks import SMALL

Array = NDArray[Any]
State = dict[str, Array]

ARCH = replace(SMALL, head_dim=32, heads=(2, 3), depth=2, layer_scale=True)
K, BATCH = 3, 2

_begin, _work_at = forward.begin_work, forward.work_at
_embed, _block, _last_block, _classify = forward.embed, blocks.block, class_tokens.last_block, class_tokens.classify


@jitted
def _run(network: Array, part: int, index: int) -> None:
    net = network[0]
    work = _work_at(_begin(net, 0))
    if part == 0:
        _embed(net, work)
    elif part == 1:
        _block(net, work, index)
    elif part == 2:
        _last_block(net, work)
    else:
        _classify(net, work)


class Parts:
    """An engine with one thread, prepared for K heads and BATCH pictures. The tests call its parts."""

    def __init__(self, file: WeightFile, x: NDArray[np.float32]) -> None:
        self.arch: Architecture = file.meta.architecture
        self._pictures = x
        self._engine = NativeEngine(file, 1)
        self._engine.logits(x, K)  # fills the tables and the call's record
        self.network: Array = self._engine._network
        self.network["pictures"] = x.ctypes.data
        self.p = self.arch.width(K)

    def rows(self, name: str, count: int, width: int) -> NDArray[np.float32]:
        """Return a buffer of the engine as a view, float32 [count, width]."""
        buffers = self._engine._buffers
        begin = int(self.network[0][name]) - buffers.ctypes.data
        stride = layers.row_bytes(width)
        part = buffers[begin : begin + count * stride].view(np.float32)
        return part.reshape(count, stride // 4)[:, :width]

    @property
    def x(self) -> NDArray[np.float32]:
        """The residual stream, [BATCH * tokens, p]."""
        return self.rows("x", BATCH * self.arch.tokens(self.arch.heads[-1]), self.p)

    @property
    def features(self) -> NDArray[np.float32]:
        """[BATCH, p]"""
        return self._engine._features[: BATCH * self.p].reshape(BATCH, self.p)

    @property
    def logits(self) -> NDArray[np.float32]:
        """[BATCH, classes]"""
        return self._engine._logits[:BATCH, : self.arch.classes]

    def embed(self) -> None:
        _run(self.network, 0, 0)

    def block(self, index: int) -> None:
        _run(self.network, 1, index)

    def last_block(self) -> None:
        _run(self.network, 2, 0)

    def classify(self) -> None:
        _run(self.network, 3, 0)


def norm(x: Array, state: State, name: str) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    scaled: Array = centred / np.sqrt(variance + ARCH.layer_norm_eps) * state[f"{name}.weight"]
    return scaled + state[f"{name}.bias"]


def block(x: Array, state: State, index: int) -> Array:
    """[BATCH, tokens, p] -> [BATCH, tokens, p]"""
    name = f"blocks.{index}"

    def linear(y: Array, layer: str) -> Array:
        return y @ state[f"{name}.{layer}.weight"].T + state[f"{name}.{layer}.bias"]

    qkv = state[f"{name}.attn.qkv.weight"], state[f"{name}.attn.qkv.bias"]
    y = reference.attention(norm(x, state, f"{name}.norm1"), *qkv, k=K)
    x = x + linear(y, "attn.proj") * state[f"{name}.ls1.gamma"]
    hidden = reference.gelu(linear(norm(x, state, f"{name}.norm2"), "mlp.fc1"))
    result: Array = x + linear(hidden, "mlp.fc2") * state[f"{name}.ls2.gamma"]
    return result


def close(actual: Array, wanted: Array) -> None:
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
