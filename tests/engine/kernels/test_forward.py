"""The steps of the network, each alone, against the reference in float64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.engine import reference
from hydrart.format.reader import WeightFile
from tests.support.driving import ARCH, BATCH, K, Parts

Array = NDArray[Any]
State = dict[str, Array]


@pytest.fixture
def network(make_weights: Callable[..., Path]) -> tuple[Parts, State, Array]:
    """The parts, the dense weights of K heads in float64, and random rows for the residual stream."""
    file = WeightFile(make_weights(ARCH))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 3, ARCH.image_size, ARCH.image_size)).astype(np.float32)
    state = {name: np.asarray(values, np.float64) for name, values in file.state(K).items()}
    parts = Parts(file, x)
    return parts, state, rng.standard_normal((BATCH, ARCH.tokens, parts.p)).astype(np.float32)


def norm(x: Array, state: State, name: str) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    scaled: Array = centred / np.sqrt(variance + ARCH.layer_norm_eps) * state[f"{name}.weight"]
    return scaled + state[f"{name}.bias"]


def block(x: Array, state: State, index: int) -> Array:
    """[BATCH, tokens, p] -> the same"""
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


def test_embed(network: tuple[Parts, State, Array]) -> None:
    parts, state, _ = network
    parts.x[:] = np.nan
    parts.embed()
    pictures = parts._pictures.astype(np.float64)
    names = ("patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed")
    wanted = reference.embed(ARCH, pictures, *(state[name] for name in names))
    close(parts.x, wanted.reshape(-1, parts.p))


@pytest.mark.parametrize("index", [0, 1])
def test_block(network: tuple[Parts, State, Array], index: int) -> None:
    parts, state, x = network
    parts.x[:] = x.reshape(-1, parts.p)
    parts.block(index)
    close(parts.x, block(x.astype(np.float64), state, index).reshape(-1, parts.p))


def test_last_block(network: tuple[Parts, State, Array]) -> None:
    """Only the class tokens; the residual stream stays as it is."""
    parts, state, x = network
    parts.x[:] = x.reshape(-1, parts.p)
    parts.last_block()
    wanted = block(x.astype(np.float64), state, ARCH.depth - 1)[:, 0]
    close(parts.rows("last_x", BATCH, parts.p), wanted)
    np.testing.assert_array_equal(parts.x, x.reshape(-1, parts.p))


def test_classify(network: tuple[Parts, State, Array]) -> None:
    parts, state, x = network
    parts.rows("last_x", BATCH, parts.p)[:] = x[:, 0]
    parts.features[:] = parts.logits[:] = np.nan
    parts.classify()
    features = norm(x[:, 0].astype(np.float64), state, "norm")
    close(parts.features, features)
    close(parts.logits, features @ state["head.weight"].T + state["head.bias"])
