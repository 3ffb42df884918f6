"""hydrart train-teacher"""

from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import FilePath, json_option, print_json
from hydrart.cli.progress import Bars
from hydrart.cli.training import (
    augment_option,
    data_option,
    device_option,
    need_pytorch,
    resume_option,
    seed_option,
    training_threads_option,
)
from hydrart.train.recipe import Recipe


@click.command("train-teacher")
@data_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(dir_okay=False),
    help="File to write; the checkpoint lies beside it (.part.pth).",
)
@click.option("--epochs", default=20, type=click.IntRange(1))
@click.option("--image-size", default=32, type=click.IntRange(8), help="Pixels that pictures are resized to.")
@click.option("--batch", default=Recipe.batch, type=click.IntRange(2), help="Pictures a step.")
@click.option("--lr", default=4e-3, type=click.FloatRange(0, 1, min_open=True), help="Peak learning rate.")
@augment_option
@seed_option
@device_option
@training_threads_option
@resume_option
@json_option
@one_sentence
def train_teacher_command(
    data: Path, output: Path, device: str, threads: int, resume: bool, as_json: bool, **options: Any
) -> None:
    """Train a network that `hydrart train` learns from.

    It is a convolutional network, trained on DATA/train/CLASS/* and tested on DATA/test/CLASS/*. OUTPUT is for
    `hydrart train --teacher` with the same DATA. --resume continues an interrupted training.
    """
    need_pytorch("hydrart train-teacher")
    from hydrart.train import run, train_teacher
    from hydrart.train.loop import Place

    place = Place(output.with_suffix(".part.pth"), run.device_named(device), threads, progress=Bars())
    recipe = train_teacher.recipe_of(precision=run.precision_on(place.device, "auto"), **options)
    top1 = train_teacher.train_teacher(data, output, recipe, place, resume)
    if as_json:
        print_json({"output": str(output), "top1": top1})
    else:
        click.echo(f"{top1:.2%}")
