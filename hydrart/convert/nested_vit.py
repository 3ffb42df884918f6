"""HydraViT in PyTorch: one Vision Transformer whose first k heads are a network of their own.

Parameter names are timm's, so that checkpoints travel both ways. Source: Haberer, Hojjat, Landsiedel,
"HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hydrart.convert.network import Network

LN_EPS = 1e-6


class _PatchEmbed(nn.Module):
    def __init__(self, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)


class _LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))


class _Block(nn.Module):
    def __init__(self, dim: int, layer_scale: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LN_EPS)
        self.attn = _Attention(dim)
        self.ls1 = _LayerScale(dim) if layer_scale else None
        self.norm2 = nn.LayerNorm(dim, eps=LN_EPS)
        self.mlp = _Mlp(dim)
        self.ls2 = _LayerScale(dim) if layer_scale else None

    def forward(self, x: Tensor, k: int, tokens: int) -> Tensor:
        """x: [B, T, p]; returns the first `tokens` of T, which look at all."""
        y = _attention(self.attn, _norm(self.norm1, x), k, tokens)
        x = x[:, :tokens] + (y if self.ls1 is None else y * self.ls1.gamma[: y.shape[-1]])
        y = _mlp(self.mlp, _norm(self.norm2, x))
        return x + (y if self.ls2 is None else y * self.ls2.gamma[: y.shape[-1]])


class NestedViT(Network):
    """The whole network; `forward(x, k)` runs its first k heads.

    x: [B, channels, image_size, image_size], normalised, of the parameters' dtype. Returns float32 logits
    [B, classes].
    separate: the ks that have a classifier of their own (heads.K.*) instead of the prefix of a common one.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch: int,
        depth: int,
        heads: int,
        head_dim: int,
        classes: int,
        channels: int = 3,
        layer_scale: bool = False,
        separate: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        dim = heads * head_dim
        self.head_dim = head_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (image_size // patch) ** 2 + 1, dim))
        self.patch_embed = _PatchEmbed(channels, patch, dim)
        self.blocks = nn.ModuleList(_Block(dim, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=LN_EPS)
        self.head = None if separate else nn.Linear(dim, classes)
        self.heads = nn.ModuleDict({str(k): nn.Linear(k * head_dim, classes) for k in separate})

    def init_weights(self, generator: torch.Generator) -> None:
        """timm's initialisation of a ViT, drawn from `generator`."""
        for name, parameter in self.named_parameters():
            if name == "pos_embed" or (parameter.ndim == 2):
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
            elif name == "patch_embed.proj.weight":
                fan_in = parameter[0].numel()
                nn.init.trunc_normal_(parameter, std=fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, k: int) -> Tensor:
        p = k * self.head_dim
        conv = self.patch_embed.proj
        x = F.conv2d(x, conv.weight[:p], cast(Tensor, conv.bias)[:p], stride=conv.stride).flatten(2).transpose(1, 2)
        cls = self.cls_token[..., :p].expand(len(x), -1, -1)
        x = torch.cat((cls, x), dim=1) + self.pos_embed[..., :p]
        blocks = list(cast(Iterable[_Block], self.blocks))
        for block in blocks[:-1]:
            x = block(x, k, x.shape[1])
        x = blocks[-1](x, k, 1)  # only the class token is classified
        x = F.layer_norm(x[:, 0].float(), (p,), self.norm.weight[:p].float(), self.norm.bias[:p].float(), LN_EPS)
        head = cast(nn.Linear, self.heads[str(k)]) if self.head is None else self.head
        return F.linear(x, head.weight[:, :p].float(), head.bias.float())

    def matrix(self, name: str, weight: Tensor, width: int) -> Tensor | None:
        """The part of a block's matrix that `width` channels use, as a view [n, outputs, inputs]; None for others.

        Queries, keys and values are three matrices (n = 3).
        """
        p = width
        if not name.startswith("blocks.") or weight.ndim != 2:
            return None
        if name.endswith("attn.qkv.weight"):
            return weight.view(3, -1, weight.shape[1])[:, :p, :p]
        if name.endswith("mlp.fc1.weight"):
            return weight[None, : 4 * p, :p]
        if name.endswith("mlp.fc2.weight"):
            return weight[None, :p, : 4 * p]
        return weight[None, :p, :p]


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    p = x.shape[-1]
    return F.layer_norm(x, (p,), norm.weight[:p], norm.bias[:p], norm.eps)


def _attention(attn: _Attention, x: Tensor, k: int, queries: int) -> Tensor:
    """x: [B, T, p] -> [B, queries, p]: the first `queries` tokens look at all."""
    batch, tokens, p = x.shape
    dim = attn.proj.in_features
    weight = attn.qkv.weight.view(3, dim, dim)[:, :p, :p]
    bias = attn.qkv.bias.view(3, dim)[:, :p]
    if queries == tokens:
        qkv = F.linear(x, weight.reshape(3 * p, p), bias.reshape(3 * p)).view(batch, tokens, 3, k, p // k)
        q, key, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * k, tokens, p // k)
    else:
        q = F.linear(x[:, :queries], weight[0], bias[0]).view(batch, queries, k, p // k)
        q = q.transpose(1, 2).reshape(batch * k, queries, p // k)
        kv = F.linear(x, weight[1:].reshape(2 * p, p), bias[1:].reshape(2 * p)).view(batch, tokens, 2, k, p // k)
        key, v = kv.permute(2, 0, 3, 1, 4).reshape(2, batch * k, tokens, p // k)
    # bmm, softmax, bmm: on a CPU faster to train through than scaled_dot_product_attention.
    scores = torch.bmm(q * (p // k) ** -0.5, key.transpose(1, 2))
    y = torch.bmm(scores.softmax(dim=-1), v)
    y = y.view(batch, k, queries, p // k).transpose(1, 2).reshape(batch, queries, p)
    return F.linear(y, attn.proj.weight[:p, :p], attn.proj.bias[:p])


def _mlp(mlp: _Mlp, x: Tensor) -> Tensor:
    p = x.shape[-1]
    x = F.gelu(F.linear(x, mlp.fc1.weight[: 4 * p, :p], mlp.fc1.bias[: 4 * p]))
    return F.linear(x, mlp.fc2.weight[:p, : 4 * p], mlp.fc2.bias[:p])
