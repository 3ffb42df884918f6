"""The nested network in PyTorch, written from DESIGN.md alone: the oracle of the converter's tests.

It shares no code with hydrart. It unfolds the patches, computes the heads one by one, writes LayerNorm and GELU out,
and uses float64 throughout. Tokens are merged by torch_merging.py.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.torch_merging import merge


def logits(state: dict[str, Tensor], x: Tensor, k: int, head_dim: int) -> Tensor:
    """x [B, 3, S, S] -> logits, float64 [B, classes], with the first k heads of head_dim channels.

    state: tensors in timm's names. Layer scales and classifiers per k are optional.
    """
    return merged_logits(state, x, k, head_dim, [])[0]


def merged_logits(
    state: dict[str, Tensor], x: Tensor, k: int, head_dim: int, merges: Sequence[int]
) -> tuple[Tensor, float]:
    """Return logits as above where block i merges merges[i] tokens, and how far the choices are from a tie."""
    s = {name: tensor.double() for name, tensor in state.items()}
    p = k * head_dim
    full = s["cls_token"].shape[-1]
    kernel = s["patch_embed.proj.weight"]
    patches = F.unfold(x.double(), kernel.shape[-1], stride=kernel.shape[-1])  # [B, 3 * patch * patch, N]
    tokens = torch.einsum("oi,bin->bno", kernel.flatten(1)[:p], patches) + s["patch_embed.proj.bias"][:p]
    first = s["cls_token"][:, :, :p].repeat(len(x), 1, 1)
    y = torch.cat([first, tokens], 1) + s["pos_embed"][:, :, :p]
    sizes, gap = torch.ones(y.shape[:2], dtype=y.dtype), float("inf")
    depth = sum(name.endswith("norm1.weight") for name in s)
    for i in range(depth):
        b = {name.removeprefix(f"blocks.{i}."): t for name, t in s.items() if name.startswith(f"blocks.{i}.")}
        z = _norm(y, b["norm1.weight"], b["norm1.bias"], p)
        heads, keys = [], []
        for h in range(k):
            q, key, v = (
                z @ b["attn.qkv.weight"][rows, :p].T + b["attn.qkv.bias"][rows]
                for rows in (slice(o + h * head_dim, o + (h + 1) * head_dim) for o in (0, full, 2 * full))
            )
            scores = torch.einsum("bnd,bmd->bnm", q, key) / head_dim**0.5
            weights = torch.softmax(scores + sizes.log()[:, None], -1)
            keys.append(key)
            heads.append(torch.einsum("bnm,bmd->bnd", weights, v))
        z = torch.cat(heads, -1) @ b["attn.proj.weight"][:p, :p].T + b["attn.proj.bias"][:p]
        y = y + z * b.get("ls1.gamma", torch.ones(full, dtype=y.dtype))[:p]
        if merges and merges[i]:
            pictures = [merge(*each, merges[i]) for each in zip(y, sizes, torch.stack(keys, 1), strict=True)]
            y, sizes = torch.stack([rows for rows, *_ in pictures]), torch.stack([size for _, size, _ in pictures])
            gap = min(gap, *(tie for *_, tie in pictures))
        z = _norm(y, b["norm2.weight"], b["norm2.bias"], p)
        z = z @ b["mlp.fc1.weight"][: 4 * p, :p].T + b["mlp.fc1.bias"][: 4 * p]
        z = z * 0.5 * (1 + torch.erf(z / 2**0.5))
        z = z @ b["mlp.fc2.weight"][:p, : 4 * p].T + b["mlp.fc2.bias"][:p]
        y = y + z * b.get("ls2.gamma", torch.ones(full, dtype=y.dtype))[:p]
    y = _norm(y[:, 0], s["norm.weight"], s["norm.bias"], p)
    head = f"heads.{k}" if f"heads.{k}.weight" in s else "head"
    return y @ s[f"{head}.weight"][:, :p].T + s[f"{head}.bias"], gap


def random_state(
    seed: int,
    width: int,
    depth: int,
    patch: int,
    image_size: int,
    classes: int,
    layer_scale: bool = False,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Return random tensors in timm's names. Their scale keeps the signals' size through the layers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float, mean: float = 0.0) -> Tensor:
        return (mean + scale * torch.randn(shape, generator=generator)).to(dtype)

    def linear(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": normal(outputs, inputs, scale=inputs**-0.5),
            f"{name}.bias": normal(outputs, scale=0.1),
        }

    def norm(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.weight": normal(width, scale=0.1, mean=1.0),
            f"{name}.bias": normal(width, scale=0.1),
        }

    state = {
        "cls_token": normal(1, 1, width, scale=0.5),
        "pos_embed": normal(1, (image_size // patch) ** 2 + 1, width, scale=0.5),
        "patch_embed.proj.weight": normal(width, 3, patch, patch, scale=(3 * patch**2) ** -0.5),
        "patch_embed.proj.bias": normal(width, scale=0.1),
    }
    for i in range(depth):
        state |= norm(f"blocks.{i}.norm1")
        state |= linear(f"blocks.{i}.attn.qkv", 3 * width, width)
        state |= linear(f"blocks.{i}.attn.proj", width, width)
        state |= norm(f"blocks.{i}.norm2")
        state |= linear(f"blocks.{i}.mlp.fc1", 4 * width, width)
        state |= linear(f"blocks.{i}.mlp.fc2", width, 4 * width)
        if layer_scale:
            state |= {f"blocks.{i}.{ls}.gamma": normal(width, scale=0.1, mean=0.5) for ls in ("ls1", "ls2")}
    return state | norm("norm") | linear("head", classes, width)


def separate_classifiers(
    state: dict[str, Tensor], seed: int, heads: tuple[int, ...], head_dim: int, full_width: bool = False
) -> dict[str, Tensor]:
    """Return the network with a classifier for each k, heads.K.*, instead of the common one."""
    generator = torch.Generator().manual_seed(seed)
    classes, width = state["head.weight"].shape
    out = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    for k in heads:
        inputs = width if full_width else k * head_dim
        out[f"heads.{k}.weight"] = torch.randn(classes, inputs, generator=generator) * (k * head_dim) ** -0.5
        out[f"heads.{k}.bias"] = torch.randn(classes, generator=generator) * 0.1
    return out


def _norm(x: Tensor, weight: Tensor, bias: Tensor, p: int) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt() * weight[:p] + bias[:p]
