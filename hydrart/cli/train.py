"""hydrart train"""

from typing import Any

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import FilePath, heads_list, json_option, print_json, shipped, suffixed
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
from hydrart.format.precision import BF16, FP32
from hydrart.train.recipe import HEADS, OPTIMIZERS, SHAPE, Recipe, WantedShape


def _shares(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """'1,1,2' as numbers, none negative and at least one positive; () where the option is not given."""
    if value is None:
        return ()
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number <= 1e6 for number in numbers) or not sum(numbers):
        raise click.BadParameter(f"{value!r} is no list of weights: write one number per k, such as 1,1,2", ctx, param)
    return numbers


@click.command()
@data_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(),
    callback=suffixed(".safetensors"),
    help="Weight file to write; the checkpoint lies beside it (.pth).",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: 10]")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Finish after this long, instead of --epochs.")
@click.option("--heads", callback=heads_list, help="The ks to train: 3-12, or 3,6,12.  [default: 3-12]")
@click.option("--baseline", type=click.IntRange(1, 64), help="Train an ordinary network of so many heads instead.")
@click.option("--weights", callback=_shares, help="How often each k is drawn, relative: 1,1,2.  [default: alike]")
@click.option(
    "--networks",
    default=Recipe.networks,
    type=click.IntRange(1),
    help="How many each step trains: one of all, or both ends of the ks and the others between.",
)
@click.option("--separate-classifiers", is_flag=True, help="A classifier for each k.")
@click.option("--head-dim", type=click.Choice([16, 32, 64]), help="Channels of a head.  [default: 16]")
@click.option("--depth", type=click.IntRange(1), help="Blocks.  [default: 6]")
@click.option("--patch", type=click.IntRange(1), help="Pixels on a patch's side.  [default: 4]")
@click.option("--image-size", type=click.IntRange(1), help="Pixels that pictures are resized to.  [default: 32]")
@click.option("--init", callback=shipped, help="Start from this checkpoint or weight file, or one that ships, by name.")
@click.option("--teacher", callback=shipped, help="Learn from such a file as well.")
@click.option("--distill", default=Recipe.distill, type=click.FloatRange(0, 1), help="The teacher's share of the loss.")
@click.option("--optimizer", default=Recipe.optimizer, type=click.Choice(OPTIMIZERS))
@click.option("--batch", default=Recipe.batch, type=click.IntRange(1), help="Pictures a step.")
@click.option("--lr", default=Recipe.lr, type=click.FloatRange(0, 1, min_open=True), help="Peak learning rate.")
@click.option(
    "--warmup", default=Recipe.warmup, type=click.FloatRange(0, 0.9), help="Share of the run in which the rate rises."
)
@click.option("--weight-decay", default=Recipe.weight_decay, type=click.FloatRange(0, 1))
@click.option("--label-smoothing", default=Recipe.label_smoothing, type=click.FloatRange(0, 0.9))
@augment_option
@click.option("--mixup", default=Recipe.mixup, type=click.FloatRange(0, 10), help="Alpha; 0 for none.")
@click.option(
    "--ema", default=Recipe.ema, type=click.FloatRange(0, 1, max_open=True), help="Decay of the averaged weights."
)
@seed_option
@device_option
@click.option(
    "--precision",
    default="auto",
    type=click.Choice(["auto", FP32.name, BF16.name]),
    help="Precision of the activations.",
)
@training_threads_option
@resume_option
@click.option("--save-every", default=120.0, help="Seconds between checkpoints.")
@click.option("--dataset", help="Name of the test pictures, stored in the file.  [default: the path]")
@click.option("--licence", default="unknown", help="Licence of the weights, stored in the file.")
@json_option
@one_sentence
def train(
    threads: int, resume: bool, save_every: float, device: str, baseline: int | None, as_json: bool, **options: Any
) -> None:
    """Train a network on your own pictures.

    It is trained on DATA/train/CLASS/* and tested on DATA/test/CLASS/*, pictures of any size. OUTPUT is a weight file.
    A checkpoint (.pth) is written beside it, with which --resume continues an interrupted training.
    """
    if options["epochs"] and options["hours"]:
        raise click.UsageError("--epochs and --hours exclude each other")
    if not options["hours"]:
        options["epochs"] = options["epochs"] or 10
    if baseline is not None:
        if options["heads"]:
            raise click.UsageError("--baseline and --heads exclude each other")
        options["heads"] = (baseline,)
    need_pytorch("hydrart train")
    from hydrart.train import run
    from hydrart.train.loop import Place
    from hydrart.train.start import read_pretrained

    shape = WantedShape(**{name: options.pop(name) for name in ("heads", *SHAPE)})
    files = run.Files(
        **{name: options.pop(name) for name in ("data", "output", "init", "teacher", "dataset", "licence")}
    )
    place = Place(files.output.with_suffix(".pth"), run.device_named(device), threads, save_every, Bars())
    options["precision"] = run.precision_on(place.device, options["precision"])
    origin = read_pretrained(files.init) if files.init else None
    recipe = run.shaped(Recipe(heads=HEADS, **SHAPE, **options), shape, origin)
    rows = run.train_and_test(files, recipe, place, origin, resume).evaluation.rows
    if as_json:
        print_json({"output": str(files.output), "top1": {row.k: row.top1 for row in rows}})
        return
    for row in rows:
        click.echo(f"k={row.k}: {row.top1:.2%}")
