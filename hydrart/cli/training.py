"""What `hydrart train` and `hydrart train-teacher` share: options, and the check that PyTorch is installed."""

import os

import click

from hydrart.cli.options import FilePath
from hydrart.errors import import_extra
from hydrart.train.recipe import AUGMENTATIONS, Recipe

data_option = click.option("--data", required=True, type=FilePath(), help="Folder of train/ and test/.")
augment_option = click.option(
    "--augment", default=Recipe.augment, type=click.Choice(AUGMENTATIONS), help="strong: RandAugment as well."
)
seed_option = click.option("--seed", default=Recipe.seed, type=click.IntRange(0))
device_option = click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
training_threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    callback=lambda ctx, param, value: value or len(os.sched_getaffinity(0)),
    help="[default: every core]",
)
resume_option = click.option(
    "--resume", is_flag=True, help="Go on from the checkpoint beside the output, if there is one."
)


def need_pytorch(command: str) -> None:
    """Import PyTorch. Raises MissingExtraError."""
    import_extra("torch", command, "PyTorch", "train")
