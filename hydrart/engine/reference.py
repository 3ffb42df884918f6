"""The networks in NumPy: slow, obvious, exact. Faster engines are tested against them.

Sources: Haberer, Hojjat, Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024; for networks of
several looks ThinkingViT, CVPR 2026, and ProgResViT, arXiv 2609.03216.
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
    FUSION,
    FUSION_CLASS_TOKEN,
    FUSION_DEPTHWISE,
    FUSION_PATCHES,
    LOOK_GATE,
    LOOK_PATCH_SCALE,
    LOOK_POSITIONS,
    NORM1,
    NORM2,
    PATCH,
    POSITIONS,
    PROJ,
    QKV,
    Role,
    classifier,
)
from hydrart.picture.resample import enlarge, resample

Array = Any  # a NumPy array of the input's dtype, float32 or float64


def features(state: Mapping[str, Array], arch: Architecture, x: Array, k: int, merges: Sequence[int] = ()) -> Array:
    """The class token after the final LayerNorm: [B, k * head_dim]. The arguments are those of tokens()."""
    return tokens(state, arch, x, k, merges=merges)[:, 0]


def tokens(
    state: Mapping[str, Array],
    arch: Architecture,
    x: Array,
    k: int,
    before: Array | None = None,
    merges: Sequence[int] = (),
) -> Array:
    """All tokens after the final LayerNorm, the class token first.

    - state: dense tensors in timm's names, of k heads or more.
    - x: [B, C, H, W], normalised. Its dtype, float32 or float64, is also that of the computation.
    - before: what this function returned for the look before; None for a first look.
    - merges: how many tokens each block merges (merging.py); () for none.

    Returns [B, N, k * head_dim], where N is arch.tokens(k) without the merged ones.
    """

    def cut(role: Role, block: int | None = None) -> list[Array]:
        """The parts of the role's tensors that k heads use."""
        place = role.each.index(k, block)
        return [np.asarray(p.cut(state[p.name], k), x.dtype) for p in role.parameters(arch, place)]

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

    def gated(y: Array, block: int) -> Array:
        return y * cut(LOOK_GATE, block)[0] if LOOK_GATE.used(arch) else y

    if arch.looks:  # the positions hold the class token
        token, positions = np.zeros((1, 1, arch.width(k)), x.dtype), cut(LOOK_POSITIONS)[0]
    else:
        token, positions = cut(CLASS_TOKEN)[0], cut(POSITIONS)[0]
    gain = cut(LOOK_PATCH_SCALE)[0] if LOOK_PATCH_SCALE.used(arch) else None
    weight, bias = cut(PATCH)
    y = embed(arch, resample(x, arch.size(k)), weight, bias, token, positions, gain=gain)
    if before is not None and arch.fusion == "tokens":  # x + alpha * (W t + b)
        y = y + before @ cut(FUSION)[0].T
    elif before is not None:  # the class token and the patches of the look before, each by a layer of its own
        token, grid = before[:, :1] @ cut(FUSION_CLASS_TOKEN)[0].T, before[:, 1:]
        grid = depthwise(regrid(grid, arch.grid(k)), *cut(FUSION_DEPTHWISE)) @ cut(FUSION_PATCHES)[0].T
        y = y + np.concatenate((token, grid), axis=1)
    sizes = None
    for i in range(arch.depth):
        z = norm(NORM1, y, i)
        y = y + linear(PROJ, attention(z, *cut(QKV, i), k=k, sizes=sizes), i)
        if merges and merges[i]:
            y, sizes = merge(y, sizes, metric(z, *cut(QKV, i), k=k), merges[i])
        y = gated(y, i) + linear(FC2, gelu(linear(FC1, norm(NORM2, y, i), i)), i)
    return norm(FINAL_NORM, y)


def classify(state: Mapping[str, Array], arch: Architecture, features: Array, k: int) -> Array:
    """Features [B, k * head_dim] -> logits [B, classes]."""
    parameters = classifier(arch).parameters(arch, k)
    weight, bias = (np.asarray(p.cut(state[p.name], k), features.dtype) for p in parameters)
    return features @ weight.T + bias


def embed(
    arch: Architecture,
    x: Array,
    weight: Array,
    bias: Array,
    class_token: Array,
    positions: Array,
    *,
    gain: Array | None = None,
) -> Array:
    """Cut pictures into patches, project each to p channels, put the class token first, and add the positions.

    x: [B, C, H, W]; weight: [p, C, patch, patch]; bias: [p]; class_token: [1, 1, p]; positions: [1, N, p]; gain: [p],
    factors of the projected patches. Returns [B, N, p].
    """
    batch, channels = x.shape[:2]
    side, patch, p = x.shape[-1] // arch.patch, arch.patch, len(bias)
    patches = x.reshape(batch, channels, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5)
    y = patches.reshape(batch, side * side, arch.patch_inputs) @ weight.reshape(p, -1).T + bias
    if gain is not None:
        y = y * gain
    return np.concatenate((np.broadcast_to(class_token, (batch, 1, p)), y), axis=1) + positions


def regrid(patches: Array, side: int) -> Array:
    """The patches on a grid of `side` by `side`, between their old neighbours: [B, N, p] -> [B, side * side, p]."""
    batch, count, p = patches.shape
    old = math.isqrt(count)
    grid = patches.transpose(0, 2, 1).reshape(batch, p, old, old)
    return enlarge(grid, side).reshape(batch, p, side * side).transpose(0, 2, 1)


def depthwise(patches: Array, weight: Array) -> Array:
    """Filter each channel with its own 3 x 3 weights, with zeros around the grid: [B, N, p] -> [B, N, p].

    weight: [p, 3, 3].
    """
    batch, count, p = patches.shape
    side = math.isqrt(count)
    around = np.pad(patches.reshape(batch, side, side, p), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = (around[:, i : i + side, j : j + side] * weight[:, i, j] for i in range(3) for j in range(3))
    return np.asarray(sum(windows)).reshape(batch, count, p)


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
