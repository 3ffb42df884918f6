"""The weights that a training starts from: new ones, or those of a checkpoint or weight file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hydrart.convert.nested_vit import NestedViT
from hydrart.convert.origin import Wishes, open_origin
from hydrart.format.architecture import listing
from hydrart.format.metadata import Metadata
from hydrart.format.roles import CLASSIFIER, CLASSIFIERS, POSITIONS, Parameter, parameters_of
from hydrart.format.writer import sha256
from hydrart.picture.classes import difference
from hydrart.train.recipe import Recipe, TrainError


@dataclass(frozen=True)
class Pretrained:
    """A trained network: a checkpoint in timm's names, or a hydrart weight file.

    - meta: the metadata of its conversion.
    - heads: the number of heads in its tensors.
    - tensors: float32, by timm's names.
    """

    path: Path
    meta: Metadata
    tensors: dict[str, Tensor]
    heads: int
    digest: str


def read_pretrained(path: Path) -> Pretrained:
    """Read a trained network. Raises CheckpointError or WeightFileError."""
    origin = open_origin(path, Wishes())
    tensors = {name: torch.from_numpy(array) for name, array in origin.tensors().items()}
    return Pretrained(path, origin.meta, tensors, origin.heads, sha256(origin.path))


def build(recipe: Recipe, classes: int) -> NestedViT:
    """The network of a recipe. Its weights are drawn from the seed."""
    arch = recipe.architecture(classes)
    model = NestedViT(arch)
    model.init_weights(torch.Generator().manual_seed(recipe.seed))
    return model


def adopt(model: NestedViT, pretrained: Pretrained, recipe: Recipe, labels: list[str]) -> list[str]:
    """Copy the pretrained weights into the model. Returns sentences that say what was changed to make them fit.

    A classifier of other classes is initialised anew. Positions are interpolated to another size of picture. Raises
    TrainError where other shapes differ.
    """
    arch = pretrained.meta.architecture
    wrong = [
        f"--{name.replace('_', '-')} {getattr(recipe, name)} (there it is {getattr(arch, name)})"
        for name in ("head_dim", "depth", "patch")
        if getattr(recipe, name) != getattr(arch, name)
    ]
    if wrong:
        raise TrainError(f"{pretrained.path} does not fit {wrong[0]}: leave that flag out")
    if recipe.heads[-1] > pretrained.heads:
        raise TrainError(
            f"{pretrained.path} has {pretrained.heads} heads, {listing(recipe.heads)} are to be trained: change --heads"
        )
    notes = []
    own = model.state_dict()
    other = difference(pretrained.meta.labels, labels)
    if other:
        notes.append(f"the classifier starts anew, because {pretrained.path} has other classes: {other}")
    parameters, there = parameters_of(model.architecture), parameters_of(arch)
    state = {}
    for name, value in own.items():
        parameter = parameters[name]
        if parameter.role in (CLASSIFIER, CLASSIFIERS):
            found = _classifier(pretrained.tensors, parameter) if not other else None
            state[name] = value if found is None else found
        elif name not in pretrained.tensors:
            raise TrainError(f"{pretrained.path} lacks the tensor {name}: it is another kind of network")
        else:
            state[name] = there[name].cut(pretrained.tensors[name], recipe.heads[-1])
            if parameter.role is POSITIONS:
                state[name] = _positions(state[name], model.architecture.tokens(recipe.heads[-1]))
    if arch.tokens(arch.heads[-1]) != model.architecture.tokens(recipe.heads[-1]):
        notes.append(f"positions are interpolated from pictures of {arch.image_size} pixels to {recipe.image_size}")
    model.load_state_dict(state)
    return notes


def _classifier(tensors: Mapping[str, Tensor], parameter: Parameter) -> Tensor | None:
    """The parameter's values: the same classifier, or for a separate one the prefix of the common classifier."""
    common = CLASSIFIER.names()[parameter.role.parts.index(parameter.part)]
    found = tensors.get(parameter.name, tensors.get(common))
    return None if found is None else parameter.cut(found, parameter.arch.heads[-1]).clone()


def _positions(value: Tensor, tokens: int) -> Tensor:
    """Interpolate position embeddings [1, T, p] to another number of patches. The class token's stays the same."""
    if value.shape[1] == tokens:
        return value
    old, new = (round((count - 1) ** 0.5) for count in (value.shape[1], tokens))
    grid = value[:, 1:].transpose(1, 2).reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    return torch.cat((value[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)
