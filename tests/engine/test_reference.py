"""The reference engine against an independent PyTorch implementation."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.engine import reference
from hydrart.format.architecture import Architecture
from tests.support.networks import SMALL, random_state

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

BASE = Architecture(image_size=224, patch=16, depth=12, head_dim=64, heads=tuple(range(3, 13)), classes=1000)


@cache
def weights_of(arch: Architecture, dtype: str) -> dict[str, NDArray[Any]]:
    return {name: values.astype(dtype, copy=False) for name, values in random_state(arch).items()}


def compare(arch: Architecture, k: int, dtype: str, bound: float, batch: int = 1) -> None:
    from tests.support.torch_vit import logits

    state = weights_of(arch, dtype)
    x = np.random.default_rng(k).standard_normal((batch, arch.channels, arch.image_size, arch.image_size)).astype(dtype)
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    with torch.no_grad():
        expected = logits(tensors, torch.from_numpy(x), k, arch.head_dim).numpy()
    features = reference.features(state, arch, x, k)
    assert features.shape == (batch, k * arch.head_dim) and features.dtype == dtype
    got = reference.classify(state, arch, features, k)
    assert got.dtype == dtype
    assert np.abs(expected).max() > 0.1, "the comparison would tell nothing of zeros"
    assert np.abs(got - expected).max() < bound


@pytest.mark.parametrize("k", BASE.heads)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("float64", 1e-9)])
def test_the_published_shape(k: int, dtype: str, bound: float) -> None:
    compare(BASE, k, dtype, bound)


@pytest.mark.parametrize("k", [3, 7, 12])
@pytest.mark.parametrize(
    "arch",
    [
        SMALL,
        replace(SMALL, head_dim=32, depth=3, image_size=30, patch=6, classes=3),
        replace(SMALL, head_dim=64, depth=1, image_size=21, patch=7),
        replace(SMALL, layer_scale=True),
        replace(SMALL, separate_classifiers=True),
    ],
    ids=["heads of 16", "heads of 32", "heads of 64", "layer scale", "separate classifiers"],
)
def test_other_shapes(arch: Architecture, k: int) -> None:
    compare(arch, k, "float64", 1e-10, batch=3)


def test_a_network_ignores_what_lies_beyond_its_prefix() -> None:
    state = random_state(SMALL)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32))
    before = reference.features(state, SMALL, x, 5)
    p = 5 * SMALL.head_dim
    for name, values in state.items():
        if name.endswith("qkv.weight"):
            values.reshape(3, 192, 192)[:, p:], values.reshape(3, 192, 192)[:, :, p:] = np.nan, np.nan
        elif name.endswith(("norm1.weight", "norm2.bias", "attn.proj.bias")):
            values[p:] = np.nan
        elif name.endswith("fc2.weight"):
            values[p:], values[:, 4 * p :] = np.nan, np.nan
    np.testing.assert_array_equal(reference.features(state, SMALL, x, 5), before)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("name", ["thinking", "thinking of three", "thinking, cut", "progressive", "distilled"])
def test_looks(name: str, dtype: str, bound: float) -> None:
    from tests.support.looks import case

    known = case(name)
    state = {tensor: values.astype(dtype) for tensor, values in known.folded().items()}
    before = None
    for k, expected in zip(known.arch.heads, known.logits, strict=True):
        before = reference.tokens(state, known.arch, known.x.astype(dtype), k, before)
        assert before.shape == (3, known.arch.tokens(k), 64 * k) and before.dtype == dtype
        logits = reference.classify(state, known.arch, before[:, 0], k)
        assert np.abs(expected).max() > 0.1, "the comparison would tell nothing of zeros"
        assert np.abs(logits - expected).max() < bound


def test_looks_of_three_sizes() -> None:
    from tests.support.looks import case

    known = case("progressive of three")
    state, before = known.folded(), None
    for k, expected in zip(known.arch.heads, known.logits, strict=True):
        before = reference.tokens(state, known.arch, known.x, k, before)
        np.testing.assert_allclose(reference.classify(state, known.arch, before[:, 0], k), expected, atol=1e-9)
