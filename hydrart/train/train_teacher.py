"""Train a convolutional network on a folder of pictures, to teach a nested Vision Transformer.

    python tools/train_teacher.py --data DIR -o teacher.pth
    python tools/train.py --data DIR -o OUT.safetensors --teacher teacher.pth

DIR as for tools/train.py; interrupted runs go on with --resume.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from hydrart.cli import training_options as flags
from hydrart.cli.errors import one_sentence
from hydrart.convert.parity import one_thread
from hydrart.evaluate import class_folders
from hydrart.format.preprocessing import Preprocessing
from hydrart.train import convnet
from hydrart.train.augmentation import AUGMENTATIONS
from hydrart.train.convnet import ConvNet, Trained
from hydrart.train.data import Pictures, mean_and_std, read_folder
from hydrart.train.loop import Place, batches, make_folder, save, train
from hydrart.train.recipe import Recipe
from hydrart.train.run import device_named, precision_on

_CALIBRATION = 64  # batches whose statistics the finished network keeps


def train_teacher(data: Path, output: Path, recipe: Recipe, place: Place, resume: bool) -> float:
    """Writes `output`; returns top-1 on the test pictures. Raises HydrartError."""
    make_folder(output.parent)
    class_folders(data / "test")
    spec = Preprocessing(recipe.image_size, recipe.crop_pct, interpolation=recipe.interpolation)
    pictures = read_folder(data / "train", spec, place.threads)
    mean, std = mean_and_std(pictures.x)
    recipe = replace(recipe, mean=mean, std=std)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = ConvNet(len(pictures.labels))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
    result = train(pictures, recipe, model, place, None, resume)
    weights = {name: tensor.cpu() for name, tensor in result["state_dict_ema"].items()}
    seen = (_normalised(batch.x, recipe) for batch in batches(pictures, recipe, 0))
    tests = read_folder(data / "test", spec, place.threads)
    with one_thread():
        finished = convnet.calibrated(weights, len(pictures.labels), itertools.islice(seen, _CALIBRATION))
        top1 = accuracy(finished, tests, recipe)
    entries = convnet.entries_of(Trained(finished, pictures.labels, recipe.preprocessing))
    save(output, entries | {"recipe": recipe.entries(), "top1": top1})
    return top1


@torch.no_grad()
def accuracy(model: ConvNet, pictures: Pictures, recipe: Recipe) -> float:
    """Share of the pictures whose class is found."""
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


@click.command(context_settings={"show_default": True})
@flags.data
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; the checkpoint lies beside it (.part.pth).",
)
@click.option("--epochs", default=20, type=click.IntRange(1))
@click.option("--image-size", default=32, type=click.IntRange(8), help="Pixels that pictures are resized to.")
@click.option("--batch", default=128, type=click.IntRange(2), help="Pictures a step.")
@click.option("--lr", default=4e-3, type=click.FloatRange(0, 1, min_open=True), help="Peak learning rate.")
@click.option("--augment", default="crop", type=click.Choice(AUGMENTATIONS), help="strong: RandAugment as well.")
@flags.seed
@flags.device
@flags.threads
@flags.resume
@one_sentence
def main(
    data: Path,
    output: Path,
    epochs: int,
    image_size: int,
    batch: int,
    lr: float,
    augment: str,
    seed: int,
    device: str,
    threads: int | None,
    resume: bool,
) -> None:
    """Train on DATA/train, test on DATA/test, write OUTPUT and, beside it, a checkpoint."""
    where = device_named(device)
    place = Place(output.with_suffix(".part.pth"), where, threads or len(os.sched_getaffinity(0)), save_every=120)
    recipe = Recipe(
        heads=(1,), head_dim=convnet.WIDTHS[0], depth=len(convnet.WIDTHS), patch=1, image_size=image_size,
        epochs=epochs, batch=batch, lr=lr, augment=augment, seed=seed, precision=precision_on(where, "auto"),
        label_smoothing=0.0,  # smoothed labels make a worse teacher: R. Müller et al., 2019
    )  # fmt: skip
    click.echo(f"{train_teacher(data, output, recipe, place, resume):.2%}")


if __name__ == "__main__":
    main()
