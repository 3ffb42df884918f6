"""Find out from a checkpoint's tensors, names and training options which network it is."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydrart.convert import looks
from hydrart.convert.checkpoint import Checkpoint
from hydrart.convert.stored import CheckpointError
from hydrart.format.architecture import HEAD_DIMS, Architecture, listing
from hydrart.format.roles import (
    CLASS_TOKEN,
    CLASSIFIER,
    CLASSIFIERS,
    LS1,
    PATCH,
    POSITIONS,
    block_number,
    own_k,
    parameters_of,
)

Shape = tuple[int, ...]
Heads = tuple[int, ...]

# Tensors of related networks that hydrart does not run: part of the name -> what such a network does.
UNSUPPORTED = {
    r"dist_token|head_dist": "a distillation token (a distilled DeiT: take the plain one)",
    r"fc_norm": "a LayerNorm after average pooling (fc_norm)",
    r"norm_pre": "a LayerNorm before the blocks (norm_pre)",
    r"patch_embed\.(?!proj\.)": "more than one convolution in its patch embedding",
    r"\.attn\.[qk]_norm": "normalised queries and keys (q_norm, k_norm)",
    r"\.attn\.norm|\.mlp\.norm": "additional LayerNorms in its blocks",
    r"\.attn\.[qv]_bias": "biases for queries and values only (q_bias, v_bias)",
    r"reg_token": "register tokens (reg_token)",
    r"rel_pos|relative_position": "relative positions (rel_pos)",
    r"attn_pool": "attention pooling (attn_pool)",
    r"pre_logits": "a layer before its classifier (pre_logits)",
    r"\.mlp\.(w12|w3|fc1_[gx])": "a gated MLP",
    r"\.gamma_[12]$": "layer scale under other names than ls1.gamma and ls2.gamma",
    r"mask_token": "a mask token: it was not trained to classify",
}


@dataclass(frozen=True)
class Identified:
    """The network of a checkpoint.

    - width: channels of the checkpoint's tensors.
    - architecture: of the converted network, which may have fewer heads.
    - family: "nested", "deit" or "vit" by the network's name; None where it has none.
    - notes: the assumptions that were made.
    """

    width: int
    architecture: Architecture
    family: str | None
    notes: tuple[str, ...] = ()


def identify(
    checkpoint: Checkpoint, heads: Heads | None, head_dim: int | None, sizes: tuple[int, ...] | None = None
) -> Identified:
    """Identify the network. heads, head_dim: None to infer them. sizes: of the looks; None where the checkpoint says.

    Raises CheckpointError for a network that hydrart does not run, and where the numbers do not fit together.
    """
    path = checkpoint.path
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    for pattern, what in UNSUPPORTED.items():
        if any(re.search(pattern, name) for name in shapes):
            raise CheckpointError(f"the network of {path} has {what}, which hydrart does not support")
    several = looks.family(path, shapes)
    if sizes and not several:
        raise CheckpointError(f"{path} is a network of one look: --sizes is for ProgResViT")
    width, patch, side = _embedding(path, shapes)
    depth = _depth(path, shapes)
    own = {k: shape for name, shape in shapes.items() if (k := own_k(name)) is not None}
    head = CLASSIFIER.names()[0]
    classifier = next(iter(own.values()), shapes.get(head, ()))
    if len(classifier) != 2:
        raise CheckpointError(f"{path} has no classifier ({head}): hydrart runs networks that classify")
    if several:
        if heads or head_dim:
            raise CheckpointError(f"{path} is a {several}: --heads and --head-dim are for networks of one look")
        return _several(checkpoint, several, _whole(path, shapes, (width, patch, side), classifier[0]), shapes, sizes)
    family = next(filter(None, map(_family, checkpoint.names)), None)
    clues = _Clues(path, width, family, checkpoint.settings, own)
    dim, ks, notes = clues.heads(heads, head_dim)
    try:
        architecture = Architecture(
            image_size=side * patch,
            patch=patch,
            depth=depth,
            head_dim=dim,
            heads=ks,
            classes=classifier[0],
            layer_scale=LS1.names(0)[0] in shapes,
            separate_classifiers=bool(own),
        )
    except ValueError as error:
        raise CheckpointError(f"hydrart does not support the network of {path}: {error}") from None
    _compare(path, shapes, _expected(architecture, width // dim, shapes, own))
    return Identified(width, architecture, family, notes)


def _whole(path: Path, shapes: Mapping[str, Shape], embedding: tuple[int, int, int], classes: int) -> Architecture:
    """A network of several looks as if it had one, of all its heads."""
    width, patch, side = embedding
    try:
        return Architecture(
            image_size=side * patch,
            patch=patch,
            depth=_depth(path, shapes),
            head_dim=looks.HEAD_DIM,
            heads=(width // looks.HEAD_DIM,),
            classes=classes,
            layer_scale=LS1.names(0)[0] in shapes,
        )
    except ValueError as error:
        raise CheckpointError(f"hydrart does not support the network of {path}: {error}") from None


def _several(
    checkpoint: Checkpoint,
    name: str,
    whole: Architecture,
    shapes: Mapping[str, Shape],
    sizes: tuple[int, ...] | None,
) -> Identified:
    path, heads = checkpoint.path, whole.heads[-1]
    arch, own, note = looks.architecture(path, name, shapes, whole, checkpoint.settings, sizes)
    _compare(path, shapes, {p.name: p.shape(heads) for p in parameters_of(whole).values()} | own)
    return Identified(whole.width(heads), arch, "nested", (note,))


def _family(name: str) -> str | None:
    """The family by timm's name. DeiT's and hydrart's networks have another normalisation than plain ViTs."""
    name = name.lower().rpartition("/")[2]
    if "hydra" in name:
        return "nested"
    if name.startswith(("deit", "vit_deit")):
        return "deit"
    return "vit" if name.startswith("vit_") else None


def _embedding(path: Path, shapes: Mapping[str, Shape]) -> tuple[int, int, int]:
    """The width, the patch, and the number of patches along a side, from the tensors of the embedding."""
    patches = shapes.get(PATCH.names()[0], ())
    if len(patches) != 4:
        names = ", ".join(name for name in list(shapes)[:3]) or "nothing"
        raise CheckpointError(f"{path} is no Vision Transformer with timm's tensor names: it holds {names} ...")
    width, channels, patch, other = patches
    if patch != other or channels != 3:
        raise CheckpointError(
            f"the network of {path} takes patches of {patch}x{other} pixels and {channels} channels: "
            "hydrart supports square patches of RGB pictures"
        )
    if CLASS_TOKEN.at() not in shapes:
        raise CheckpointError(f"the network of {path} has no class token: hydrart does not support average pooling")
    tokens = shapes.get(POSITIONS.at(), (0, 0, 0))[1:2] or (0,)
    side = math.isqrt(max(0, tokens[0] - 1))
    if side < 1 or side**2 + 1 != tokens[0]:
        raise CheckpointError(
            f"the network of {path} has positions for {tokens[0]} tokens: "
            "hydrart supports a square of patches and one class token with a position of its own"
        )
    return width, patch, side


def _depth(path: Path, shapes: Mapping[str, Shape]) -> int:
    blocks = {i for i in map(block_number, shapes) if i is not None}
    depth = len(blocks)
    if blocks != set(range(depth)) or not depth:
        missing = min(set(range(depth + 1)) - blocks)
        raise CheckpointError(f"{path} has no blocks.{missing}: its blocks must be numbered from 0 without gaps")
    return depth


def _expected(arch: Architecture, heads: int, shapes: Mapping[str, Shape], own: Iterable[int]) -> dict[str, Shape]:
    """The name and shape of every tensor that a checkpoint with this many heads has.

    It includes the classifiers of the ks that are not converted. A classifier of its own is cut to its k, or stored at
    full width.
    """
    expected = {p.name: p.shape(heads) for p in parameters_of(arch).values() if p.only is None}
    for k in own:
        for p in CLASSIFIERS.parameters(arch, k):
            full = tuple(side.length(arch, heads) for side in p.part.sides)
            expected[p.name] = full if shapes.get(p.name) == full else p.shape(k)
    return expected


def _compare(path: Path, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    for name, shape in wanted.items():
        if name not in shapes:
            raise CheckpointError(f"{path} lacks the tensor {name}: hydrart does not support a network without it")
        if shapes[name] != shape:
            raise CheckpointError(
                f"the tensor {name} of {path} has shape {list(shapes[name])}, hydrart supports {list(shape)} there"
            )
    if unknown := [name for name in shapes if name not in wanted]:
        raise CheckpointError(
            f"{path} holds the tensor {unknown[0]}, which the network does not have: hydrart does not support it"
        )


@dataclass(frozen=True)
class _Clues:
    """The facts that give the heads: the width, the name, the training's options, the classifiers of single ks."""

    path: Path
    width: int
    family: str | None
    settings: Mapping[str, Any]
    own: Mapping[int, Shape]

    def heads(self, wanted: Heads | None, head_dim: int | None) -> tuple[int, Heads, tuple[str, ...]]:
        """Returns head_dim, the heads to convert, and the assumptions that were made."""
        trained = tuple(sorted(self.own)) or self._trained()
        nested, notes = self._nested(trained, wanted)
        dim = head_dim or self._known(trained)
        if not dim:
            dim = self._guess(nested, wanted)
            if nested and self.width != 768:
                guess = f"its {self.width} channels are taken for {self.width // dim} heads of {dim}"
                notes.append(f"{guess}: if they are others, give --head-dim")
        count = self.width // dim
        if count * dim != self.width:
            raise CheckpointError(f"the {self.width} channels of {self.path} are no multiple of --head-dim {dim}")
        default = range(3, count + 1) if count <= 12 else ()
        ks = wanted or trained or (tuple(default) if nested else (count,))
        if not ks:
            raise CheckpointError(f"{self.path} has {count} heads of {dim}: say with --heads which to convert")
        if ks[-1] > count:
            raise CheckpointError(
                f"{self.path} has {count} heads of {dim} ({self.width} channels), not {ks[-1]}: "
                "change --heads or --head-dim"
            )
        if self.own and (lacking := [k for k in ks if k not in self.own]):
            raise CheckpointError(f"{self.path} has no classifier for {lacking[0]} heads, only for {listing(trained)}")
        if not nested and ks != (count,):
            notes.append(f"a plain network of {count} heads is cut to {listing(ks)}, which it was not trained for")
        return dim, ks, tuple(notes)

    def _nested(self, trained: Heads, wanted: Heads | None) -> tuple[bool, list[str]]:
        if self.family:
            return self.family == "nested", []
        if wanted or trained:
            several = len(wanted or trained) > 1
            return several or (self.width == 768 and wanted != (12,)), []
        if self.width != 768:
            return False, [
                "nothing says what it is called: it is taken for an ordinary network of one size "
                "(a nested one of 12 heads is converted with --heads 3-12)"
            ]
        return True, [
            "nothing says what it is called: it is taken for a nested network of 12 heads "
            "(an ordinary ViT-B is converted with --heads 12)"
        ]

    def _trained(self) -> Heads:
        """The heads that the training drew from, by its options; empty where they do not say."""
        heads = self.settings.get("heads")
        if not isinstance(heads, list | tuple) or not all(type(k) is int and 1 <= k <= 64 for k in heads):
            return ()
        return tuple(sorted(set(heads)))

    def _known(self, trained: Heads) -> int | None:
        """head_dim from classifiers that are cut to their k, or from the training's options; None without either."""
        tries = [shape[1] / k for k, shape in self.own.items() if k and shape[1:] not in ((), (self.width,))]
        tries += [value for value in [self.settings.get("head_dim")] if type(value) is int]
        counts = [self.settings.get("num_heads"), *trained[-1:]]
        tries += [self.width / count for count in counts if type(count) is int and count > 0]
        return self._fitting(tries)

    def _guess(self, nested: bool, wanted: Heads | None) -> int:
        if nested:
            dim = self._fitting([self.width / k for k in (12, *(wanted or ())[-1:])])
        else:  # ViTs from tiny to large have a head_dim of 64, larger ones of 80 and more
            dim = self._fitting([64] if self.width <= 1024 else [])
        if not dim:
            what = "12 heads of 16, 32 or 64" if nested else "heads of 64"
            raise CheckpointError(
                f"the {self.width} channels of {self.path} are not {what}: give --head-dim and --heads"
            )
        return dim

    def _fitting(self, tries: Iterable[float]) -> int | None:
        return next((int(dim) for dim in tries if dim in HEAD_DIMS and self.width % dim == 0), None)
