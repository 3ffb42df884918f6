"""Train a convolutional network on a folder of pictures, to teach a nested Vision Transformer.

The folder is the same as for `hydrart train`. The written file is for its option --teacher.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hydrart.convert.parity import one_thread
from hydrart.format.preprocessing import Preprocessing
from hydrart.targets import refuse_inputs
from hydrart.train import convnet
from hydrart.train.convnet import ConvNet, Trained
from hydrart.train.data import Pictures, folders_of, mean_and_std, read_pictures
from hydrart.train.loop import Place, batches, fitted, make_folder, save, train
from hydrart.train.recipe import Recipe, TrainError

_CALIBRATION = 64  # number of batches whose statistics the finished network keeps


def recipe_of(**options: Any) -> Recipe:
    """The recipe of a ConvNet. options: fields of Recipe."""
    shape: dict[str, Any] = {"heads": (1,), "head_dim": convnet.WIDTHS[0], "depth": len(convnet.WIDTHS), "patch": 1}
    # a network trained with smoothed labels teaches worse: R. Müller et al., "When does label smoothing help?", 2019
    return Recipe(label_smoothing=0.0, **shape, **options)


def train_teacher(data: Path, output: Path, recipe: Recipe, place: Place, resume: bool) -> float:
    """Train, write `output`, and return top-1 on the test pictures, from 0 to 1. Raises HydrartError."""
    make_folder(output.parent)
    folders, test_folders = folders_of(data)
    for classes in (folders, test_folders):
        refuse_inputs(output, itertools.chain(*classes.values()), TrainError)
    spec = Preprocessing(recipe.image_size, recipe.crop_pct, interpolation=recipe.interpolation)
    pictures = read_pictures(data / "train", folders, spec, place.threads, place.progress)
    mean, std = mean_and_std(pictures.x)
    recipe = fitted(replace(recipe, mean=mean, std=std), len(pictures.y), place.progress)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = ConvNet(len(pictures.labels))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
    result = train(pictures, recipe, model, place, None, resume)
    weights = {name: tensor.cpu() for name, tensor in result["state_dict_ema"].items()}
    seen = (_normalised(batch.x, recipe) for batch in batches(pictures, recipe, 0))
    tests = read_pictures(data / "test", test_folders, spec, place.threads, place.progress)
    with one_thread():
        finished = convnet.calibrated(weights, len(pictures.labels), itertools.islice(seen, _CALIBRATION))
        top1 = accuracy(finished, tests, recipe)
    entries = convnet.entries_of(Trained(finished, pictures.labels, recipe.preprocessing))
    save(output, entries | {"recipe": recipe.entries(), "top1": top1})
    return top1


@torch.no_grad()
def accuracy(model: ConvNet, pictures: Pictures, recipe: Recipe) -> float:
    """Top-1 accuracy on the pictures, 0 to 1."""
    right = sum(
        int((model(x).argmax(1) == y).sum())
        for x, y in zip(_parts(pictures.x, recipe), torch.split(pictures.y, recipe.batch), strict=True)
    )
    return right / len(pictures.y)


def _parts(x: Tensor, recipe: Recipe) -> Iterator[Tensor]:
    return (_normalised(part.float(), recipe) for part in torch.split(x, recipe.batch))


def _normalised(x: Tensor, recipe: Recipe) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (recipe.mean, recipe.std))
    return (x.cpu() - mean) / std
