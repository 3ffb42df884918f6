"""Train a nested Vision Transformer on a folder of pictures and write a hydrart weight file.

    python tools/train.py --data DIR -o OUT.safetensors --epochs 10

DIR holds train/CLASS/* and test/CLASS/*, pictures of any size. Each step draws a number of heads k and trains the
first k heads (HydraViT, NeurIPS 2024). Interrupted runs go on with --resume.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from hydrart.cli import training_options as flags
from hydrart.cli.errors import one_sentence
from hydrart.evaluate import Evaluation, class_folders
from hydrart.format.architecture import listing
from hydrart.format.preprocessing import Preprocessing
from hydrart.train.augmentation import AUGMENTATIONS
from hydrart.train.data import Pictures, mean_and_std, read_folder
from hydrart.train.export import export
from hydrart.train.loop import Place, make_folder, train
from hydrart.train.optimizer import OPTIMIZERS
from hydrart.train.recipe import Recipe, TrainError
from hydrart.train.start import Origin, adopt, build, read_origin
from hydrart.train.teacher import Teacher

HEADS = tuple(range(3, 13))
SHAPE: dict[str, Any] = {"head_dim": 16, "depth": 6, "patch": 4, "image_size": 32}


@dataclass(frozen=True)
class Files:
    """What a training reads and writes. dataset: name of the test pictures; licence: of the weights."""

    data: Path
    output: Path
    init: Path | None = None
    teacher: Path | None = None
    dataset: str | None = None
    licence: str = "unknown"


@dataclass(frozen=True)
class Outcome:
    """Of a training: how many classes there were, and what was measured on the test pictures."""

    classes: int
    evaluation: Evaluation


def device_named(name: str) -> torch.device:
    """Raises TrainError for a GPU that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainError("PyTorch finds no CUDA GPU here: leave out --device cuda, or install a PyTorch that knows it")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def precision_on(device: torch.device, name: str) -> str:
    """bf16 where it is faster than fp32, if `name` leaves the choice."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def shaped(recipe: Recipe, wishes: dict[str, Any], origin: Origin | None) -> Recipe:
    """With heads, head_dim, depth, patch and image_size as wished, else those of the origin, else the usual ones."""
    usual: dict[str, Any] = {"heads": HEADS} | SHAPE
    if origin is not None:
        arch, spec = origin.meta.architecture, origin.meta.preprocessing
        usual = {name: getattr(arch, name) for name in usual}
        recipe = replace(recipe, layer_scale=arch.layer_scale, init=origin.digest)
        recipe = replace(recipe, crop_pct=spec.crop, interpolation=spec.interpolation)
    recipe = replace(recipe, **{name: value if wishes[name] is None else wishes[name] for name, value in usual.items()})
    if recipe.weights and len(recipe.weights) != len(recipe.heads):
        raise TrainError(
            f"--weights names {len(recipe.weights)} numbers for {len(recipe.heads)} ks ({listing(recipe.heads)}): "
            "give one each"
        )
    drawn = sum(share > 0 for share in recipe.shares[1:-1])
    if recipe.networks > 1 and (len(recipe.heads) == 1 or recipe.networks > 2 + drawn):
        raise TrainError(
            f"--networks {recipe.networks} is more than a step can train: both ends of the ks and, between them, "
            f"{drawn} that may be drawn; give a smaller number, or 1"
        )
    recipe.architecture(2)
    return recipe


def normalised(recipe: Recipe, origin: Origin | None, pictures: Pictures) -> Recipe:
    """With the origin's mean and std, else those of the pictures."""
    if origin is not None:
        spec = origin.meta.preprocessing
        return replace(recipe, mean=spec.mean, std=spec.std)
    mean, std = mean_and_std(pictures.x)
    return replace(recipe, mean=mean, std=std)


def train_and_test(
    files: Files, recipe: Recipe, place: Place, origin: Origin | None = None, resume: bool = False
) -> Outcome:
    """Read, train, write, evaluate. Raises HydrartError."""
    make_folder(place.checkpoint.parent)
    tests = class_folders(files.data / "test")
    spec = Preprocessing(recipe.image_size, recipe.crop_pct, interpolation=recipe.interpolation)
    pictures = read_folder(files.data / "train", spec, place.threads)
    if list(tests) != pictures.labels:
        raise TrainError(f"{files.data}/train and {files.data}/test hold different classes: make them the same")
    recipe = normalised(recipe, origin, pictures)
    teacher = None
    if files.teacher:
        teacher = Teacher(files.teacher, pictures.labels, recipe.preprocessing).to(place.device, recipe.dtype)
        recipe = replace(recipe, teacher=teacher.digest)
    model = build(recipe, len(pictures.labels))
    for note in adopt(model, origin, recipe, pictures.labels) if origin else []:
        click.echo(f"note: {note}", err=True)
    result = train(pictures, recipe, model, place, teacher, resume)
    earlier = origin.meta.history if origin else ()
    evaluation = export(
        result["state_dict_ema"],
        recipe.architecture(len(pictures.labels)),
        recipe.preprocessing,
        pictures.labels,
        dataset=files.dataset or f"{files.data.resolve().name}/test",
        checkpoint=place.checkpoint,
        test=files.data / "test",
        output=files.output,
        licence=files.licence,
        history=(*earlier, _entry(files, recipe, result)),
        threads=place.threads,
    )
    return Outcome(len(pictures.labels), evaluation)


def _entry(files: Files, recipe: Recipe, result: dict[str, Any]) -> dict[str, str | int | float]:
    """What the weight file tells of this run."""
    entry: dict[str, str | int | float] = {
        "data": f"{files.data.resolve().name}/train",
        "pictures": result["pictures"],
        "steps": result["step"],
        "epochs": round(result["step"] * recipe.batch / result["pictures"], 2),
        "batch": recipe.batch,
        "optimizer": recipe.optimizer,
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "augment": recipe.augment,
        "mixup": recipe.mixup,
        "ema": recipe.ema,
        "shares": ", ".join(f"{share:.3g}" for share in recipe.shares),
        "networks": recipe.networks,
        "seed": recipe.seed,
        "precision": recipe.precision,
        "torch": torch.__version__,
    }
    if files.init:
        entry |= {"init": files.init.name, "init_sha256": recipe.init}
    if files.teacher:
        entry |= {"teacher": files.teacher.name, "teacher_sha256": recipe.teacher, "distill": recipe.distill}
    return entry


@click.command(context_settings={"show_default": True})
@flags.data
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    callback=flags.weight_file,
    help="Weight file to write; the checkpoint lies beside it (.pth).",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: 10]", show_default=False)
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Finish after so long, instead of --epochs.")
@click.option("--heads", callback=flags.heads, help="The ks to train: 3-12, or 3,6,12.  [default: 3-12]")
@click.option("--baseline", type=click.IntRange(1, 64), help="Train an ordinary network of so many heads instead.")
@click.option("--weights", callback=flags.shares, help="How often each k is drawn, relative: 1,1,2.  [default: alike]")
@click.option(
    "--networks",
    default=1,
    type=click.IntRange(1),
    help="How many each step trains: one of all, or both ends of the ks and the others between.",
)
@click.option("--separate-classifiers", is_flag=True, help="A classifier for each k.")
@click.option("--head-dim", type=click.Choice([16, 32, 64]), help="Channels of a head.  [default: 16]")
@click.option("--depth", type=click.IntRange(1), help="Blocks.  [default: 6]")
@click.option("--patch", type=click.IntRange(1), help="Pixels on a patch's side.  [default: 4]")
@click.option("--image-size", type=click.IntRange(1), help="Pixels that pictures are resized to.  [default: 32]")
@click.option("--init", type=click.Path(path_type=Path), help="Start from this checkpoint or weight file.")
@click.option("--teacher", type=click.Path(path_type=Path), help="Learn from this checkpoint or weight file as well.")
@click.option("--distill", default=0.5, type=click.FloatRange(0, 1), help="The teacher's share of the loss.")
@click.option("--optimizer", default="muon", type=click.Choice(OPTIMIZERS))
@click.option("--batch", default=128, type=click.IntRange(1), help="Pictures a step.")
@click.option("--lr", default=2e-3, type=click.FloatRange(0, 1, min_open=True), help="Peak learning rate.")
@click.option("--warmup", default=0.05, type=click.FloatRange(0, 0.9), help="Its share of the run.")
@click.option("--weight-decay", default=0.05, type=click.FloatRange(0, 1))
@click.option("--label-smoothing", default=0.1, type=click.FloatRange(0, 0.9))
@click.option("--augment", default="crop", type=click.Choice(AUGMENTATIONS), help="strong: RandAugment as well.")
@click.option("--mixup", default=0.0, type=click.FloatRange(0, 10), help="Alpha; 0 for none.")
@click.option("--ema", default=0.998, type=click.FloatRange(0, 1, max_open=True), help="Decay of the averaged weights.")
@flags.seed
@flags.device
@click.option("--precision", default="auto", type=click.Choice(["auto", "fp32", "bf16"]), help="Of the activations.")
@flags.threads
@flags.resume
@click.option("--save-every", default=120.0, help="Seconds between checkpoints.")
@click.option("--dataset", help="Name of the test pictures, stored in the file.  [default: the path]")
@click.option("--licence", default="unknown", help="Licence of the weights, stored in the file.")
@one_sentence
def main(
    threads: int | None,
    resume: bool,
    save_every: float,
    device: str,
    baseline: int | None,
    **options: Any,
) -> None:
    """Train on DATA/train, test on DATA/test, write OUTPUT and, beside it, a checkpoint (.pth)."""
    if options["epochs"] and options["hours"]:
        raise click.UsageError("--epochs and --hours exclude each other")
    if not options["hours"]:
        options["epochs"] = options["epochs"] or 10
    wishes = {name: options.pop(name) for name in ("heads", *SHAPE)}
    if baseline is not None:
        if wishes["heads"]:
            raise click.UsageError("--baseline and --heads exclude each other")
        wishes["heads"] = (baseline,)
    place = Place(
        checkpoint=options["output"].with_suffix(".pth"),
        device=device_named(device),
        threads=threads or len(os.sched_getaffinity(0)),
        save_every=save_every,
    )
    names = ("data", "output", "init", "teacher", "dataset", "licence")
    files = Files(**{name: options.pop(name) for name in names})
    options["precision"] = precision_on(place.device, options["precision"])
    origin = read_origin(files.init) if files.init else None
    recipe = shaped(Recipe(heads=HEADS, **SHAPE, **options), wishes, origin)
    for row in train_and_test(files, recipe, place, origin, resume).evaluation.rows:
        click.echo(f"k={row.k}: {row.top1:.2%}")


if __name__ == "__main__":
    main()
