"""Compute networks of several looks as their authors write them, with every gate and factor where it stands.

A converted file is compared with these answers. They are slow: float64, in NumPy.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hydrart.convert.fold import PROJECTIONS, gate, regridded
from hydrart.engine.reference import attention, depthwise, embed, gelu, regrid
from hydrart.format.architecture import Architecture
from hydrart.picture.resample import resample

Array = Any  # float64


def logits(weights: Mapping[str, Any], arch: Architecture, x: Array) -> dict[int, Array]:
    """Logits [classes] of each look, by its heads, of the first picture of x [B, 3, H, W].

    weights: the tensors of the checkpoint in its authors' names.
    """
    found: dict[int, Array] = {}
    before = None
    for k in arch.heads:
        before = _tokens(_Look(weights, arch, k), resample(np.asarray(x[:1], np.float64), arch.size(k)), before)
        weight = np.asarray(weights["head.weight"], np.float64)[:, : arch.width(k)]
        found[k] = (before[:, 0] @ weight.T + np.asarray(weights["head.bias"], np.float64))[0]
    return found


class _Look:
    """The tensors that a look of k heads uses."""

    def __init__(self, weights: Mapping[str, Any], arch: Architecture, k: int) -> None:
        self.arch, self.k, self._weights = arch, k, weights
        self.p = arch.width(k)
        self.step = arch.heads.index(k) - 1

    def stored(self, name: str) -> Array:
        return np.asarray(self._weights[name], np.float64)

    def gate(self, block: int, name: str) -> Array:
        return gate(self.stored, self.arch, self.k, block, name)

    def norm(self, name: str, y: Array) -> Array:
        centred = y - y.mean(axis=-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.arch.layer_norm_eps)
        return y * self.stored(f"{name}.weight")[: self.p] + self.stored(f"{name}.bias")[: self.p]

    def linear(self, name: str, y: Array, outputs: int) -> Array:
        weight, bias = self.stored(f"{name}.weight"), self.stored(f"{name}.bias")
        return y @ weight[:outputs, : y.shape[-1]].T + bias[:outputs]

    def attend(self, block: int, y: Array) -> Array:
        weight, bias = (np.split(self.stored(f"blocks.{block}.attn.qkv.{part}"), 3) for part in ("weight", "bias"))
        weights = np.concatenate([third[: self.p, : self.p] for third in weight])
        biases = np.concatenate([third[: self.p] for third in bias])
        z = attention(self.norm(f"blocks.{block}.norm1", y), weights, biases, k=self.k)
        return self.linear(f"blocks.{block}.attn.proj", z, self.p) * self.scale(block, 1)

    def mlp(self, block: int, y: Array) -> Array:
        z = self.linear(f"blocks.{block}.mlp.fc1", self.norm(f"blocks.{block}.norm2", y), 4 * self.p)
        return self.linear(f"blocks.{block}.mlp.fc2", gelu(z), self.p) * self.scale(block, 2)

    def scale(self, block: int, branch: int) -> Array:
        names = [f"blocks.{block}.{kind}{branch}.gamma" for kind in ("ls", "prog_ls")]
        return np.prod([np.ones(self.p), *(self.stored(name)[: self.p] for name in names if name in self._weights)], 0)


def _tokens(look: _Look, x: Array, before: Array | None) -> Array:
    arch, p = look.arch, look.p
    positions = look.stored("pos_embed")[0]
    positions = np.concatenate((positions[:1], regridded(positions, arch.grid(look.k))))[None, :, :p]
    patch, token = (look.stored(name) for name in ("patch_embed.proj.weight", "cls_token"))
    y = embed(arch, x, patch[:p], look.stored("patch_embed.proj.bias")[:p], token[:, :, :p], positions)
    gated = arch.fusion == "grid"
    if before is not None and gated:
        name, step = f"token_projectors.{look.step}", look.step
        grid = depthwise(regrid(before[:, 1:], arch.grid(look.k)), look.stored(f"{name}.depthwise_proj.weight")[:, 0])
        grid = grid @ look.stored(f"{name}.spatial_proj.weight")[:, :, 0, 0].T + look.stored(
            f"{name}.spatial_proj.bias"
        )
        projected = np.concatenate((look.linear(f"{name}.prefix_proj", before[:, :1], p), grid), axis=1)
        y = look.gate(0, f"fusion_input_delta.{step}") * y + look.gate(0, f"fusion_prev_delta.{step}") * projected
    elif before is not None:
        y = y + look.stored(f"alpha.{look.step}") * look.linear(PROJECTIONS[look.step], before, p)
    for i in range(arch.depth):
        attn, mlp, out = (look.gate(i, f"blocks.{i}.gate_{name}") if gated else 1.0 for name in ("attn", "mlp", "out"))
        y = y + attn * look.attend(i, y)
        y = out * (y + mlp * look.mlp(i, y))
    return look.norm("norm", y)
