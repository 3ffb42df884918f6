"""HydraViT's network in NumPy: slow, obvious, exact. Faster engines are tested against it.

Source: Haberer, Hojjat, Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from hydrart.engine.merging import merge, metric
from hydrart.format.architecture import Architecture
from hydrart.format.roles import (
    CLASS_TOKEN,
    FC1,
    FC2,
    FINAL_NORM,
    NORM1,
    NORM2,
    PATCH,
    POSITIONS,
    PROJ,
    QKV,
    Role,
    classifier,
)

Array = Any  # a NumPy array of the input's dtype, float32 or float64


def features(state: Mapping[str, Array], arch: Architecture, x: Array, k: int, merges: Sequence[int] = ()) -> Array:
    """The class token after the final LayerNorm.

    state: dense tensors in timm's names, of k heads or more. x: [B, C, H, W], normalised. Its dtype, float32 or
    float64, is also that of the computation. merges: how many tokens each block merges (merging.py); () for none.
    Returns [B, k * head_dim].
    """

    def cut(role: Role, block: int | None = None) -> list[Array]:
        """The parts of the role's tensors that k heads use."""
        return [np.asarray(p.cut(state[p.name], k), x.dtype) for p in role.parameters(arch, block)]

    def norm(role: Role, y: Array, block: int | None = None) -> Array:
        weight, bias = cut(role, block)
        centred = y - y.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + x.dtype.type(arch.layer_norm_eps)) * weight + bias

    def linear(role: Role, y: Array, block: int) -> Array:
        weight, bias = cut(role, block)
        y = y @ weight.T + bias
        if scale := role.scale(arch):
            y = y * cut(scale, block)[0]
        return y

    y = embed(arch, x, *cut(PATCH), *cut(CLASS_TOKEN), *cut(POSITIONS))
    sizes = None
    for i in range(arch.depth):
        z = norm(NORM1, y, i)
        y = y + linear(PROJ, attention(z, *cut(QKV, i), k=k, sizes=sizes), i)
        if merges and merges[i]:
            y, sizes = merge(y, sizes, metric(z, *cut(QKV, i), k=k), merges[i])
        y = y + linear(FC2, gelu(linear(FC1, norm(NORM2, y, i), i)), i)
    return norm(FINAL_NORM, y[:, 0])


def classify(state: Mapping[str, Array], arch: Architecture, features: Array, k: int) -> Array:
    """Features [B, k * head_dim] -> logits [B, classes]."""
    parameters = classifier(arch).parameters(arch, k)
    weight, bias = (np.asarray(p.cut(state[p.name], k), features.dtype) for p in parameters)
    return features @ weight.T + bias


def embed(arch: Architecture, x: Array, weight: Array, bias: Array, class_token: Array, positions: Array) -> Array:
    """Cut pictures into patches, project each to p channels, put the class token first, and add the positions.

    x: [B, C, H, W]; weight: [p, C, patch, patch]; bias: [p]; class_token: [1, 1, p]; positions: [1, N, p]. Returns
    [B, N, p].
    """
    batch, channels = x.shape[:2]
    side, patch, p = arch.image_size // arch.patch, arch.patch, len(bias)
    patches = x.reshape(batch, channels, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5)
    y = patches.reshape(batch, side * side, arch.patch_inputs) @ weight.reshape(p, -1).T + bias
    return np.concatenate((np.broadcast_to(class_token, (batch, 1, p)), y), axis=1) + positions


def attention(x: Array, weight: Array, bias: Array, *, k: int, sizes: Array | None = None) -> Array:
    """Attention of k heads, without its projection: [B, N, p] -> [B, N, p].

    weight: [3 * p, p], bias: [3 * p], in the order queries, keys, values. sizes: how many tokens each token holds, [B,
    N], where tokens were merged.
    """
    batch, tokens, p = x.shape
    q, key, value = (
        (x @ weight.T + bias).reshape(batch, tokens, k, p // k).transpose(0, 2, 1, 3)
        for weight, bias in zip(np.split(weight, 3), np.split(bias, 3), strict=True)
    )
    scores = q @ key.swapaxes(-1, -2) * x.dtype.type((p // k) ** -0.5)
    if sizes is not None:
        scores = scores + np.log(sizes)[:, None, None]
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores = scores / scores.sum(axis=-1, keepdims=True)
    return (scores @ value).transpose(0, 2, 1, 3).reshape(batch, tokens, p)


def gelu(x: Array) -> Array:
    """GELU: x * Phi(x), with the exact error function."""
    half, root = x.dtype.type(0.5), x.dtype.type(math.sqrt(0.5))
    return np.asarray(x * half * (1 + _erf()(x * root)))


@cache
def _erf() -> Any:
    """math.erf for arrays, which NumPy lacks."""
    import numba

    vectorize: Any = numba.vectorize

    def erf(x: float) -> float:
        return math.erf(x)

    return vectorize(["float32(float32)", "float64(float64)"])(erf)
