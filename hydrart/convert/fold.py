"""Fold what is the same for every picture: a checkpoint of several looks becomes the tensors of a weight file.

The learned factors and gates of ThinkingViT (CVPR 2026) and of ProgResViT (arXiv 2609.03216) depend on the look and on
the sizes alone. So they are multiplied into vectors and matrices once, in float64.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.convert.stored import Stored, as_float32
from hydrart.format.architecture import Architecture
from hydrart.format.roles import (
    CLASS_TOKEN,
    FUSION,
    FUSION_CLASS_TOKEN,
    FUSION_DEPTHWISE,
    FUSION_PATCHES,
    LOOK_GATE,
    LOOK_LS1,
    LOOK_LS2,
    LOOK_PATCH_SCALE,
    LOOK_POSITIONS,
    POSITIONS,
    Parameter,
    parameters_of,
)
from hydrart.picture.resample import resample

Array = NDArray[np.float64]

PROJECTIONS = ("proj_layer", "proj_layer2")  # ThinkingViT's, in the order of its later looks


class Folded(Mapping[str, NDArray[Any]]):
    """The tensors of the weight file, each made on access: float64, in the names and shapes of roles.parameters_of().

    weights: the checkpoint's tensors in its authors' names, of all channels.
    """

    def __init__(self, weights: Mapping[str, Stored], arch: Architecture) -> None:
        self._weights, self._arch = weights, arch
        self._known = parameters_of(arch)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, name: str) -> Array:
        parameter = self._known[name]
        if parameter.only is None:
            return np.asarray(parameter.cut(self._stored(name), self._arch.heads[-1]))
        return self._of_look(parameter, parameter.only).reshape(parameter.shape(parameter.only))

    def _stored(self, name: str) -> Array:
        tensor = self._weights[name]
        return tensor if tensor.dtype == np.float64 else as_float32(tensor).astype(np.float64)

    def _of_look(self, parameter: Parameter, k: int) -> Array:
        role, index = parameter.role, parameter.index
        block = index[1] if isinstance(index, tuple) else 0
        if role is LOOK_POSITIONS:
            return self._positions(k)
        if role is FUSION:
            alpha, weight, _ = self._projection(k)
            return alpha * weight[: self._arch.width(k)]
        if role is LOOK_GATE:
            return self._gate(k, block, "out")
        if role is LOOK_LS1:
            return self._gate(k, block, "attn") * self._layer_scale(k, block, 1)
        if role is LOOK_LS2:
            return self._gate(k, block, "out") * self._gate(k, block, "mlp") * self._layer_scale(k, block, 2)
        if role is LOOK_PATCH_SCALE:
            return self._fusion_gate(k, "input")
        if role is FUSION_DEPTHWISE:
            return self._stored(f"{self._projector(k)}.depthwise_proj.weight")
        name = {FUSION_PATCHES: "spatial_proj", FUSION_CLASS_TOKEN: "prefix_proj"}[role]
        weight = self._stored(f"{self._projector(k)}.{name}.weight")
        return self._fusion_gate(k, "prev")[:, None] * weight.reshape(weight.shape[:2])

    def _positions(self, k: int) -> Array:
        """What is added to the tokens of a look: [tokens, p]. Row 0 is the class token's."""
        arch, p = self._arch, self._arch.width(k)
        stored = self._stored(POSITIONS.at())[0, :, :p]
        rows = np.concatenate((stored[:1] + self._stored(CLASS_TOKEN.at())[0, :, :p], regridded(stored, arch.grid(k))))
        if arch.fusion == "grid":
            rows = rows * self._fusion_gate(k, "input")
        if not arch.before(k):
            return rows
        if arch.fusion == "tokens":
            alpha, _, bias = self._projection(k)
            return rows + alpha * bias[:p]
        gate, name = self._fusion_gate(k, "prev"), self._projector(k)
        rows[0] += gate * self._stored(f"{name}.prefix_proj.bias")
        rows[1:] += gate * self._stored(f"{name}.spatial_proj.bias")
        return rows

    def _projection(self, k: int) -> tuple[Array, Array, Array]:
        """ThinkingViT's factor alpha, and the weight and bias that it multiplies."""
        step = self._arch.heads.index(k) - 1
        name = PROJECTIONS[step]
        return self._stored(f"alpha.{step}"), self._stored(f"{name}.weight"), self._stored(f"{name}.bias")

    def _projector(self, k: int) -> str:
        return f"token_projectors.{self._arch.heads.index(k) - 1}"

    def _layer_scale(self, k: int, block: int, branch: int) -> Array:
        """ProgResViT's layer scale. Distilled networks have that of their backbone besides."""
        p = self._arch.width(k)
        scale = self._stored(f"blocks.{block}.prog_ls{branch}.gamma")[:p]
        own = f"blocks.{block}.ls{branch}.gamma"
        return scale * self._stored(own)[:p] if own in self._weights else scale

    def _gate(self, k: int, block: int, name: str) -> Array:
        return gate(self._stored, self._arch, k, block, f"blocks.{block}.gate_{name}")

    def _fusion_gate(self, k: int, name: str) -> Array:
        """The factors of a look's new tokens ("input"), or of what it takes from the look before ("prev")."""
        if not self._arch.before(k):
            return np.ones(self._arch.width(k))
        step = self._arch.heads.index(k) - 1
        return gate(self._stored, self._arch, k, 0, f"fusion_{name}_delta.{step}")


def gate(stored: Any, arch: Architecture, k: int, block: int, name: str) -> Array:
    """The factors of a gate of ProgResViT in one look and block: [p]. stored: gives a tensor in float64 by its name."""
    look, looks = arch.heads.index(k), len(arch.looks)
    size, before = arch.size(k), arch.size(arch.before(k) or k)
    place = (look * arch.depth + block) / (looks * arch.depth - 1)
    logs = (math.log2(size / 224), math.log2(before / 224), math.log2(size / before))
    e = _silu(stored("cond_mlp.net.0.weight") @ np.array([look, place, *logs]) + stored("cond_mlp.net.0.bias"))
    e = _silu(stored(f"{name}.net.0.weight") @ e + stored(f"{name}.net.0.bias"))
    factors = 1 + stored(f"{name}.net.2.weight") @ e + stored(f"{name}.net.2.bias")
    return np.asarray(factors[: arch.width(k)])


def regridded(rows: Array, grid: int) -> Array:
    """Resample the positions of the patches, [1 + N, p], to a grid of another side: [grid * grid, p]."""
    side = math.isqrt(len(rows) - 1)
    picture = rows[1:].T.reshape(-1, side, side)
    return np.asarray(resample(picture, grid).reshape(-1, grid * grid).T)


def _silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))
