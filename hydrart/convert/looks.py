"""Recognise networks of several looks by their tensors: ThinkingViT (CVPR 2026), ProgResViT (arXiv 2609.03216)."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydrart.convert.fold import PROJECTIONS
from hydrart.convert.stored import CheckpointError
from hydrart.format.architecture import Architecture, Look

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HEAD_DIM = 64  # of all networks of these families
_GATE = 128  # channels inside ProgResViT's gates
_OLD_FACTORS = 12  # alphas in ThinkingViT's checkpoints before May 2026


def family(path: Path, shapes: Shapes) -> str | None:
    """ "ThinkingViT", "ProgResViT", or None for another network. Raises CheckpointError for ThinkingViT on Swin."""
    if "cond_mlp.net.0.weight" in shapes:
        return "ProgResViT"
    if "alpha.0" not in shapes:
        return None
    if any(name.startswith(("layers.", "proj_layer.upsample.")) for name in shapes):
        raise CheckpointError(
            f"{path} is a ThinkingViT on Swin, whose windows hydrart does not support: take one on DeiT"
        )
    return "ThinkingViT" if len(shapes.get("proj_layer.weight", ())) == 2 else None


def architecture(
    path: Path,
    name: str,
    shapes: Shapes,
    whole: Architecture,
    settings: Mapping[str, Any],
    sizes: tuple[int, ...] | None,
) -> tuple[Architecture, dict[str, Shape], str]:
    """The network of this family, the shapes of the tensors that only it has, and a sentence on how it was recognised.

    whole: the network of all its heads in one look. sizes: those that the user gives. Raises CheckpointError.
    """
    count = whole.heads[-1]
    if name == "ThinkingViT":
        if sizes:
            raise CheckpointError(f"{path} is a ThinkingViT, whose looks have one size: leave --sizes out")
        heads = _thinking_heads(path, shapes, count, settings)
        sizes, fusion, sign = (whole.image_size,) * len(heads), "tokens", "alpha.0 and proj_layer.weight"
        own = _thinking_shapes(shapes, heads, whole)
    else:
        heads = (*_steps(shapes, "token_projectors.{}.prefix_proj.weight"), count)
        sizes = sizes or _told_sizes(path, settings, whole.image_size)
        if len(sizes) != len(heads) or sizes[-1] != whole.image_size:
            raise CheckpointError(
                f"{path} has {len(heads)} looks, the last at {whole.image_size} pixels, which --sizes "
                f"{','.join(map(str, sizes))!r:.60} does not fit"
            )
        fusion, sign, own = "grid", "cond_mlp", _progressive_shapes(heads, whole)
    try:
        arch = replace(
            whole,
            image_size=_input_size(settings, whole) if fusion == "grid" else whole.image_size,
            heads=heads,
            looks=tuple(map(Look, heads, sizes)),
            fusion=fusion,
            layer_scale=False,
        )
    except ValueError as error:
        raise CheckpointError(f"hydrart does not support the network of {path}: {error}") from None
    looks = " and ".join(f"{look.heads} heads at {look.image_size} pixels" for look in arch.looks)
    return arch, own, f"it is a {name}, by its tensors {sign}, with looks of {looks}"


def _steps(shapes: Shapes, template: str) -> list[int]:
    """The heads of the looks that a numbered tensor takes up, by its columns."""
    found: list[int] = []
    while (shape := shapes.get(template.format(len(found)), ()))[1:]:
        found.append(shape[1] // HEAD_DIM)
    return found


def _thinking_heads(path: Path, shapes: Shapes, count: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
    before = [shapes[f"{name}.weight"][1] // HEAD_DIM for name in PROJECTIONS if shapes.get(f"{name}.weight", ())[1:]]
    factors = sum(name.startswith("alpha.") for name in shapes)
    told = settings.get("thinking_stages")
    if isinstance(told, list | tuple) and all(type(k) is int for k in told):
        heads = tuple(told)
    elif factors != len(before):
        raise CheckpointError(
            f"{path} is a ThinkingViT of the older form that does not say its stages: its args lack thinking_stages"
        )
    else:
        heads = (*before, count)
    if list(heads[:-1]) != before or heads[-1] > count:
        raise CheckpointError(
            f"{path} says that its looks have {list(heads)!r:.60} heads, its tensors have {before} of {count}"
        )
    return heads


def _thinking_shapes(shapes: Shapes, heads: tuple[int, ...], whole: Architecture) -> dict[str, Shape]:
    width = whole.width(whole.heads[-1])
    own: dict[str, Shape] = {}
    for name, k in zip(PROJECTIONS, heads[:-1], strict=False):
        own |= {f"{name}.weight": (width, HEAD_DIM * k), f"{name}.bias": (width,)}
    factors = _OLD_FACTORS if f"alpha.{len(heads) - 1}" in shapes else len(heads) - 1
    return own | {f"alpha.{j}": (1,) for j in range(factors)}


def _progressive_shapes(heads: tuple[int, ...], whole: Architecture) -> dict[str, Shape]:
    width = whole.width(heads[-1])

    def gate(name: str, outputs: int) -> dict[str, Shape]:
        return {
            f"{name}.net.0.weight": (_GATE, _GATE),
            f"{name}.net.0.bias": (_GATE,),
            f"{name}.net.2.weight": (outputs, _GATE),
            f"{name}.net.2.bias": (outputs,),
        }

    own: dict[str, Shape] = {"cond_mlp.net.0.weight": (_GATE, 5), "cond_mlp.net.0.bias": (_GATE,)}
    for i in range(whole.depth):
        for name in ("attn", "mlp", "out"):
            own |= gate(f"blocks.{i}.gate_{name}", width)
        own |= {f"blocks.{i}.prog_ls{branch}.gamma": (width,) for branch in (1, 2)}
    for j, (k, after) in enumerate(pairwise(heads)):
        name, inputs, outputs = f"token_projectors.{j}", HEAD_DIM * k, HEAD_DIM * after
        own[f"{name}.depthwise_proj.weight"] = (inputs, 1, 3, 3)
        own[f"{name}.spatial_proj.weight"] = (outputs, inputs, 1, 1)
        own[f"{name}.prefix_proj.weight"] = (outputs, inputs)
        own |= {f"{name}.spatial_proj.bias": (outputs,), f"{name}.prefix_proj.bias": (outputs,)}
        own |= gate(f"fusion_input_delta.{j}", outputs) | gate(f"fusion_prev_delta.{j}", outputs)
    return own


def _told_sizes(path: Path, settings: Mapping[str, Any], last: int) -> tuple[int, ...]:
    told = settings.get("progress_img_sizes")
    if isinstance(told, list | tuple) and told and all(type(size) is int for size in told):
        return tuple(told)
    raise CheckpointError(
        f"{path} is a ProgResViT that does not say the sizes of its looks: give --sizes FIRST,{last}, or the folder "
        "with its config.json"
    )


def _input_size(settings: Mapping[str, Any], whole: Architecture) -> int:
    """The size to which pictures are prepared: the network's own, or a larger one that its settings ask for."""
    match settings.get("input_size"):
        case [_, int(size), int(other)] if size == other and size > whole.image_size and size % whole.patch == 0:
            return size
    return whole.image_size
