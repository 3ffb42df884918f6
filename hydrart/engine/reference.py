"""The network of HydraViT in NumPy: slow, obvious, exact. Faster engines are tested against it.

Source: Haberer, Hojjat, Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from hydrart.format.architecture import Architecture

Array = Any  # NumPy arrays of the input's dtype, float32 or float64


def features(state: Mapping[str, Array], arch: Architecture, x: Array, k: int) -> Array:
    """The class token after the final LayerNorm.

    state: dense tensors in timm's names, of k heads or more; x: [B, C, H, W], normalised; its dtype, float32 or
    float64, is the one computed in. Returns [B, k * head_dim].
    """
    p = arch.width(k)

    def tensor(name: str) -> Array:
        return np.asarray(state[name], x.dtype)

    def norm(name: str, y: Array) -> Array:
        centred = y - y.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + x.dtype.type(arch.layer_norm_eps))
        return scaled * tensor(f"{name}.weight")[:p] + tensor(f"{name}.bias")[:p]

    def linear(name: str, y: Array, outputs: int) -> Array:
        weight = tensor(f"{name}.weight")[:outputs, : y.shape[-1]]
        return y @ weight.T + tensor(f"{name}.bias")[:outputs]

    def branch(name: str, y: Array) -> Array:
        return y * tensor(f"{name}.gamma")[:p] if arch.layer_scale else y

    x = embed(tensor, arch, x, p)
    for i in range(arch.depth):
        block = f"blocks.{i}"
        y = attention(tensor, f"{block}.attn.qkv", arch, norm(f"{block}.norm1", x), k)
        x = x + branch(f"{block}.ls1", linear(f"{block}.attn.proj", y, p))
        y = gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x), 4 * p))
        x = x + branch(f"{block}.ls2", linear(f"{block}.mlp.fc2", y, p))
    return norm("norm", x[:, 0])


def classify(state: Mapping[str, Array], arch: Architecture, features: Array, k: int) -> Array:
    """Features [B, k * head_dim] -> logits [B, classes]."""
    name = f"heads.{k}" if arch.separate_classifiers else "head"
    weight = np.asarray(state[f"{name}.weight"], features.dtype)[:, : arch.width(k)]
    return features @ weight.T + np.asarray(state[f"{name}.bias"], features.dtype)


def embed(tensor: Any, arch: Architecture, x: Array, p: int) -> Array:
    """Cut pictures into patches, project each to p channels, put the class token before them, add positions."""
    batch, channels = x.shape[:2]
    side, patch = arch.image_size // arch.patch, arch.patch
    patches = x.reshape(batch, channels, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5)
    weight = tensor("patch_embed.proj.weight")[:p].reshape(p, -1)
    y = patches.reshape(batch, side * side, arch.patch_inputs) @ weight.T + tensor("patch_embed.proj.bias")[:p]
    cls = np.broadcast_to(tensor("cls_token")[..., :p], (batch, 1, p))
    return np.concatenate((cls, y), axis=1) + tensor("pos_embed")[..., :p]


def attention(tensor: Any, name: str, arch: Architecture, x: Array, k: int) -> Array:
    """Multi-head attention of the first k heads, before its projection: [B, N, p] -> [B, N, p]."""
    batch, tokens, p = x.shape
    weights = np.split(tensor(f"{name}.weight"), 3)
    biases = np.split(tensor(f"{name}.bias"), 3)
    q, key, value = (
        (x @ weight[:p, :p].T + bias[:p]).reshape(batch, tokens, k, arch.head_dim).transpose(0, 2, 1, 3)
        for weight, bias in zip(weights, biases, strict=True)
    )
    scores = q @ key.swapaxes(-1, -2) * x.dtype.type(arch.head_dim**-0.5)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores = scores / scores.sum(axis=-1, keepdims=True)
    return (scores @ value).transpose(0, 2, 1, 3).reshape(batch, tokens, p)


def gelu(x: Array) -> Array:
    """x * Phi(x), with the exact error function."""
    half, root = x.dtype.type(0.5), x.dtype.type(math.sqrt(0.5))
    return np.asarray(x * half * (1 + _erf()(x * root)))


@cache
def _erf() -> Any:
    """math.erf over arrays: NumPy has none."""
    import numba

    vectorize: Any = numba.vectorize

    def erf(x: float) -> float:
        return math.erf(x)

    return vectorize(["float32(float32)", "float64(float64)"])(erf)
