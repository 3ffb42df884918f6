"""What a training starts from: new weights, or those of a checkpoint or weight file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hydrart.convert.nested_vit import NestedViT
from hydrart.convert.origin import Wishes, open_source
from hydrart.format.architecture import Architecture, listing
from hydrart.format.metadata import Metadata
from hydrart.format.writer import sha256
from hydrart.train.recipe import Recipe, TrainError


@dataclass(frozen=True)
class Origin:
    """A network that was trained before: a checkpoint in timm's names, or a weight file of hydrart's.

    meta: as it would be converted; tensors: float32, in timm's names, `heads` heads wide.
    """

    path: Path
    meta: Metadata
    tensors: dict[str, Tensor]
    heads: int
    digest: str


def read_origin(path: Path) -> Origin:
    """Raises CheckpointError or WeightFileError."""
    source = open_source(path, Wishes())
    tensors = {name: torch.from_numpy(array) for name, array in source.tensors().items()}
    return Origin(path, source.meta, tensors, source.heads, sha256(source.path))


def build(recipe: Recipe, classes: int) -> NestedViT:
    """The network of a recipe, its weights drawn from the seed."""
    arch = recipe.architecture(classes)
    model = network(arch, arch.heads[-1])
    model.init_weights(torch.Generator().manual_seed(recipe.seed))
    return model


def network(arch: Architecture, heads: int) -> NestedViT:
    """So many heads wide, without weights."""
    return NestedViT(
        image_size=arch.image_size,
        patch=arch.patch,
        depth=arch.depth,
        heads=heads,
        head_dim=arch.head_dim,
        classes=arch.classes,
        layer_scale=arch.layer_scale,
        separate=arch.heads if arch.separate_classifiers else (),
    )


def adopt(model: NestedViT, origin: Origin, recipe: Recipe, labels: list[str]) -> list[str]:
    """Put the origin's weights into the model; what was done to make them fit, as sentences.

    A classifier of other classes starts anew; positions are interpolated to another size of picture. Raises TrainError
    where the shapes do not fit otherwise.
    """
    arch = origin.meta.architecture
    wrong = [
        f"--{name.replace('_', '-')} {getattr(recipe, name)} (there it is {getattr(arch, name)})"
        for name in ("head_dim", "depth", "patch")
        if getattr(recipe, name) != getattr(arch, name)
    ]
    if wrong:
        raise TrainError(f"{origin.path} does not fit {wrong[0]}: leave that flag out")
    if recipe.heads[-1] > origin.heads:
        raise TrainError(
            f"{origin.path} has {origin.heads} heads, {listing(recipe.heads)} are to be trained: change --heads"
        )
    notes = []
    own = model.state_dict()
    known = known_classes(origin.meta.labels, labels)
    if not known:
        notes.append(f"the classifier starts anew: {origin.path} has other classes")
    width = recipe.heads[-1] * recipe.head_dim
    state = {}
    for name, value in own.items():
        if name.startswith(("head.", "heads.")):
            found = _classifier(origin.tensors, name, value) if known else None
            state[name] = value if found is None else found
        elif name not in origin.tensors:
            raise TrainError(f"{origin.path} lacks the tensor {name}: it is another kind of network")
        else:
            state[name] = _cut(name, origin.tensors[name], value, width)
    if own["pos_embed"].shape[1] != origin.tensors["pos_embed"].shape[1]:
        notes.append(f"positions are interpolated from pictures of {arch.image_size} pixels to {recipe.image_size}")
    model.load_state_dict(state)
    return notes


def known_classes(known: Sequence[str], labels: Sequence[str]) -> bool:
    """The same classes in the same order, in capitals or not."""
    return [label.casefold() for label in known] == [label.casefold() for label in labels]


def _classifier(tensors: Mapping[str, Tensor], name: str, own: Tensor) -> Tensor | None:
    """The same classifier, or the common one's prefix for a separate one."""
    found = tensors.get(name)
    if found is None:
        found = tensors.get("head." + name.rpartition(".")[2])
    return None if found is None else found[:, : own.shape[1]].clone() if found.ndim == 2 else found


def _cut(name: str, value: Tensor, own: Tensor, width: int) -> Tensor:
    """A tensor of a wider network, cut to the shape that the model has."""
    if name == "pos_embed":
        return _positions(value[..., :width], own.shape[1])
    if ".qkv." in name:
        value = value.view(3, -1, *value.shape[1:])[:, :width]
        return value[..., :width].reshape(own.shape) if value.ndim == 3 else value.reshape(own.shape)
    for axis, length in enumerate(own.shape):
        value = value.narrow(axis, 0, length)
    return value


def _positions(value: Tensor, tokens: int) -> Tensor:
    """Position embeddings [1, T, p] for another number of patches; the class token keeps its own."""
    if value.shape[1] == tokens:
        return value
    old, new = (round((count - 1) ** 0.5) for count in (value.shape[1], tokens))
    grid = value[:, 1:].transpose(1, 2).reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    return torch.cat((value[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)
