"""ThinkingViT and ProgResViT in PyTorch, as their papers write them: the oracle of networks of several looks.

It shares no code with hydrart. Tensors have the authors' names, gates and learned factors are applied where they stand,
and everything is computed in the dtype of the state.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]

HEAD = 64  # channels of a head


def thinking(state: State, x: Tensor, stages: Sequence[int]) -> list[Tensor]:
    """ThinkingViT: x [B, 3, S, S] -> the logits [B, classes] of each stage."""
    found: list[Tensor] = []
    t: Tensor | None = None
    embedded = _embedded(state, x, state["pos_embed"])
    for heads in stages:
        y = embedded
        if t is not None:
            for j, name in enumerate(("proj_layer", "proj_layer2")):
                if f"{name}.weight" in state and state[f"{name}.weight"].shape[1] == t.shape[-1]:
                    y = y + state[f"alpha.{j}"] * F.linear(t, state[f"{name}.weight"], state[f"{name}.bias"])
        y = y[..., : HEAD * heads]
        for i in range(_depth(state)):
            y = y + _attend(state, i, y)
            y = y + _mlp(state, i, y)
        t, logits = _end(state, y)
        found.append(logits)
    return found


def progressive(state: State, x: Tensor, stages: Sequence[int], sizes: Sequence[int]) -> list[Tensor]:
    """ProgResViT: x [B, 3, S, S] -> the logits [B, classes] of each stage, at pictures of these sizes."""
    depth, kernel = _depth(state), state["patch_embed.proj.weight"].shape[-1]
    found: list[Tensor] = []
    t: Tensor | None = None
    for stage, (heads, size) in enumerate(zip(stages, sizes, strict=True)):
        p, grid, last = HEAD * heads, size // kernel, sizes[max(0, stage - 1)]

        def gate(name: str, block: int, stage: int = stage, size: int = size, last: int = last, p: int = p) -> Tensor:
            place = (stage * depth + block) / (len(stages) * depth - 1)
            logs = (math.log2(size / 224), math.log2(last / 224), math.log2(size / last))
            c = torch.tensor([stage, place, *logs], dtype=x.dtype)
            e = F.silu(F.linear(c, state["cond_mlp.net.0.weight"], state["cond_mlp.net.0.bias"]))
            e = F.silu(F.linear(e, state[f"{name}.net.0.weight"], state[f"{name}.net.0.bias"]))
            return 1 + F.linear(e, state[f"{name}.net.2.weight"], state[f"{name}.net.2.bias"])[:p]

        picture = x if x.shape[-1] == size else _bicubic(x, size)
        y = _embedded(state, picture, _positions(state["pos_embed"], grid))[..., :p]
        if t is not None:
            j = stage - 1
            y = gate(f"fusion_input_delta.{j}", 0) * y + gate(f"fusion_prev_delta.{j}", 0) * _projected(
                state, f"token_projectors.{j}", t, grid
            )
        for i in range(depth):
            b = f"blocks.{i}."
            one = torch.ones(p, dtype=x.dtype)
            scales = [state[f"{b}prog_ls{n}.gamma"][:p] * state.get(f"{b}ls{n}.gamma", one)[:p] for n in (1, 2)]
            y = y + gate(f"{b}gate_attn", i) * scales[0] * _attend(state, i, y)
            y = gate(f"{b}gate_out", i) * (y + gate(f"{b}gate_mlp", i) * scales[1] * _mlp(state, i, y))
        t, logits = _end(state, y)
        found.append(logits)
    return found


def _bicubic(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False)


def _positions(stored: Tensor, grid: int) -> Tensor:
    side = math.isqrt(stored.shape[1] - 1)
    if side == grid:
        return stored
    picture = stored[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    return torch.cat([stored[:, :1], _bicubic(picture, grid).flatten(2).transpose(1, 2)], 1)


def _projected(state: State, name: str, t: Tensor, grid: int) -> Tensor:
    side, width = math.isqrt(t.shape[1] - 1), t.shape[2]
    picture = t[:, 1:].transpose(1, 2).reshape(-1, width, side, side)
    picture = F.interpolate(picture, (grid, grid), mode="bilinear", align_corners=False)
    picture = F.conv2d(picture, state[f"{name}.depthwise_proj.weight"], padding=1, groups=width)
    picture = F.conv2d(picture, state[f"{name}.spatial_proj.weight"], state[f"{name}.spatial_proj.bias"])
    token = F.linear(t[:, :1], state[f"{name}.prefix_proj.weight"], state[f"{name}.prefix_proj.bias"])
    return torch.cat([token, picture.flatten(2).transpose(1, 2)], 1)


def _embedded(state: State, x: Tensor, positions: Tensor) -> Tensor:
    kernel = state["patch_embed.proj.weight"]
    y = F.conv2d(x, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    return torch.cat([state["cls_token"].expand(len(x), -1, -1), y], 1) + positions


def _attend(state: State, i: int, y: Tensor) -> Tensor:
    p, full = y.shape[-1], state["cls_token"].shape[-1]
    weight, bias = state[f"blocks.{i}.attn.qkv.weight"], state[f"blocks.{i}.attn.qkv.bias"]
    z = _norm(y, state, f"blocks.{i}.norm1")
    q, key, v = (
        F.linear(z, weight[at : at + p, :p], bias[at : at + p]).view(*z.shape[:2], p // HEAD, HEAD).transpose(1, 2)
        for at in (0, full, 2 * full)
    )
    z = ((q @ key.transpose(-1, -2) / HEAD**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    return F.linear(z, state[f"blocks.{i}.attn.proj.weight"][:p, :p], state[f"blocks.{i}.attn.proj.bias"][:p])


def _mlp(state: State, i: int, y: Tensor) -> Tensor:
    p = y.shape[-1]
    z = _norm(y, state, f"blocks.{i}.norm2")
    z = F.gelu(
        F.linear(z, state[f"blocks.{i}.mlp.fc1.weight"][: 4 * p, :p], state[f"blocks.{i}.mlp.fc1.bias"][: 4 * p])
    )
    return F.linear(z, state[f"blocks.{i}.mlp.fc2.weight"][:p, : 4 * p], state[f"blocks.{i}.mlp.fc2.bias"][:p])


def _end(state: State, y: Tensor) -> tuple[Tensor, Tensor]:
    t = _norm(y, state, "norm")
    return t, F.linear(t[:, 0], state["head.weight"][:, : y.shape[-1]], state["head.bias"])


def _norm(y: Tensor, state: State, name: str) -> Tensor:
    p = y.shape[-1]
    return F.layer_norm(y, (p,), state[f"{name}.weight"][:p], state[f"{name}.bias"][:p], 1e-6)


def _depth(state: State) -> int:
    return sum(name.endswith("norm1.weight") for name in state)


def random_thinking(
    seed: int, stages: Sequence[int], old: bool = False, *, width: int = 0, size: int = 32, patch: int = 16
) -> State:
    """A random ThinkingViT: 2 blocks, 7 classes. old: with twelve factors, as the code before May 2026 wrote it."""
    draw = _drawing(seed)
    width = width or HEAD * stages[-1]
    state = _backbone(draw, width, size, patch)
    for name, heads in zip(("proj_layer", "proj_layer2"), stages[:-1], strict=False):
        state[f"{name}.weight"] = draw(width, HEAD * heads, scale=(HEAD * heads) ** -0.5)
        state[f"{name}.bias"] = draw(width, scale=0.3)
    for j in range(12 if old else len(stages) - 1):
        state[f"alpha.{j}"] = draw(1, scale=0.1, mean=0.6)
    return state


def random_progressive(
    seed: int, stages: Sequence[int], size: int, distilled: bool = False, *, patch: int = 16
) -> State:
    """A random ProgResViT whose last stage takes pictures of this size: 2 blocks, 7 classes."""
    draw = _drawing(seed)
    width = HEAD * stages[-1]
    state = _backbone(draw, width, size, patch)
    state["cond_mlp.net.0.weight"] = draw(128, 5, scale=0.5)
    state["cond_mlp.net.0.bias"] = draw(128, scale=0.5)

    def gate(name: str, outputs: int) -> None:
        state[f"{name}.net.0.weight"] = draw(128, 128, scale=128**-0.5)
        state[f"{name}.net.0.bias"] = draw(128, scale=0.5)
        state[f"{name}.net.2.weight"] = draw(outputs, 128, scale=0.05)
        state[f"{name}.net.2.bias"] = draw(outputs, scale=0.1)

    for i in range(2):
        for name in ("attn", "mlp", "out"):
            gate(f"blocks.{i}.gate_{name}", width)
        for n in (1, 2):
            state[f"blocks.{i}.prog_ls{n}.gamma"] = draw(width, scale=0.1, mean=0.8)
            if distilled:
                state[f"blocks.{i}.ls{n}.gamma"] = draw(width, scale=0.1, mean=0.7)
    for j, (heads, then) in enumerate(itertools.pairwise(stages)):
        c, after, name = HEAD * heads, HEAD * then, f"token_projectors.{j}"
        state[f"{name}.depthwise_proj.weight"] = draw(c, 1, 3, 3, scale=0.3)
        state[f"{name}.spatial_proj.weight"] = draw(after, c, 1, 1, scale=c**-0.5)
        state[f"{name}.spatial_proj.bias"] = draw(after, scale=0.3)
        state[f"{name}.prefix_proj.weight"] = draw(after, c, scale=c**-0.5)
        state[f"{name}.prefix_proj.bias"] = draw(after, scale=0.3)
        gate(f"fusion_input_delta.{j}", after)
        gate(f"fusion_prev_delta.{j}", after)
    return state


def _drawing(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float, mean: float = 0.0) -> Tensor:
        return mean + scale * torch.randn(shape, generator=generator)

    return draw


def _backbone(draw: Callable[..., Tensor], width: int, size: int, patch: int) -> State:
    state = {
        "cls_token": draw(1, 1, width, scale=0.5),
        "pos_embed": draw(1, (size // patch) ** 2 + 1, width, scale=0.5),
        "patch_embed.proj.weight": draw(width, 3, patch, patch, scale=(3 * patch**2) ** -0.5),
        "patch_embed.proj.bias": draw(width, scale=0.1),
    }
    sizes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    names = [
        f"blocks.{i}.{name}"
        for i in range(2)
        for name in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    ]
    for name in [*names, "norm"]:
        layer = name.partition(".")[2].partition(".")[2]
        if layer in sizes:
            outputs, inputs = (side * width for side in sizes[layer])
            state[f"{name}.weight"] = draw(outputs, inputs, scale=inputs**-0.5)
            state[f"{name}.bias"] = draw(outputs, scale=0.1)
        else:
            state[f"{name}.weight"] = draw(width, scale=0.1, mean=1.0)
            state[f"{name}.bias"] = draw(width, scale=0.1)
    state["head.weight"] = draw(7, width, scale=width**-0.5)
    state["head.bias"] = draw(7, scale=0.1)
    return state
