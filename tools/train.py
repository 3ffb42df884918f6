"""Train a nested Vision Transformer on a folder of pictures and write a hydrart weight file.

    python tools/train.py --data DIR -o OUT.safetensors --epochs 10

DIR holds train/CLASS/* and test/CLASS/*. Each step draws a number of heads k and trains the first k heads
(HydraViT, NeurIPS 2024). Interrupted runs go on with --resume; every random choice depends on the seed and the
step alone, so a resumed run sees the same pictures, crops and ks as an uninterrupted one.
"""

import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from export import export
from nested_vit import NestedViT
from torch import Tensor

from hydrart.architecture import Architecture
from hydrart.cli.errors import one_sentence
from hydrart.errors import HydrartError, PictureError
from hydrart.evaluate import class_folders
from hydrart.preprocess import Preprocessing, fit, read_picture

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's training pictures


class TrainError(HydrartError):
    """The training cannot start or go on."""


@dataclass(frozen=True)
class Recipe:
    """All that decides the outcome of a run; stored in its checkpoint.

    weights: how often each of `heads` is drawn, relative; batch: pictures a step; lr: peak learning rate.
    """

    heads: tuple[int, ...]
    head_dim: int
    depth: int
    patch: int
    image_size: int
    epochs: int
    batch: int
    lr: float
    weights: tuple[float, ...]
    seed: int
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05
    label_smoothing: float = 0.1
    clip: float = 1.0
    crop_padding: float = 0.125


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures [N, 3, size, size] and their classes [N]."""

    x: Tensor
    y: Tensor
    labels: list[str]


def read_folder(root: Path, spec: Preprocessing) -> Pictures:
    """Decode every picture of root/CLASS/* once; unreadable ones are named and left out."""
    folders = class_folders(root)
    if len(folders) < 2:
        raise TrainError(f"{root} holds {len(folders)} class folders: training needs at least two")
    x, y = [], []
    entries = [(i, file) for i, folder in enumerate(folders.values()) for file in folder]
    with click.progressbar(entries, label=f"Reading {root}", file=sys.stderr) as bar:
        for label, file in bar:
            try:
                x.append(fit(read_picture(file), spec).transpose(2, 0, 1))
                y.append(label)
            except PictureError as error:
                click.echo(f"skipped: {error}", err=True)
    found = set(y)
    for i, name in enumerate(folders):
        if i not in found:
            raise TrainError(f"{root / name} holds no readable picture: add some or remove the folder")
    return Pictures(torch.from_numpy(np.stack(x)), torch.tensor(y), list(folders))


def augment(x: Tensor, rng: np.random.Generator, padding: int) -> Tensor:
    """Random crops after reflecting `padding` pixels, and mirror images: uint8 [B, C, S, S] -> the same."""
    batch, channels, size, _ = x.shape
    x = F.pad(x.float(), (padding,) * 4, mode="reflect").byte()
    top, left = (torch.from_numpy(rng.integers(0, 2 * padding + 1, batch)) for _ in range(2))
    steps = torch.arange(size)
    columns = left[:, None] + steps
    mirrored = torch.from_numpy(rng.random(batch) < 0.5)
    columns[mirrored] = columns[mirrored].flip(1)
    rows = (top[:, None] + steps)[:, None, :, None]
    index = torch.arange(batch)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return x[(*index, rows, columns[:, None, None, :])]


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then one cosine to zero over all steps."""
    warm = max(1, round(recipe.warmup * steps))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def batches(data: Pictures, recipe: Recipe, start: int) -> Iterator[tuple[int, Tensor, Tensor, int]]:
    """(step, pictures uint8, classes, k) from step `start` on."""
    per_epoch = len(data.y) // recipe.batch
    share = np.array(recipe.weights) / sum(recipe.weights)
    for step in range(start, per_epoch * recipe.epochs):
        epoch, at = divmod(step, per_epoch)
        if at == 0 or step == start:
            order = np.random.default_rng((recipe.seed, 0, epoch)).permutation(len(data.y))
        rng = np.random.default_rng((recipe.seed, 1, step))
        pick = torch.from_numpy(order[at * recipe.batch : (at + 1) * recipe.batch])
        x = augment(data.x[pick], rng, round(recipe.crop_padding * recipe.image_size))
        yield step, x, data.y[pick], int(rng.choice(recipe.heads, p=share))


def optimizer_for(model: NestedViT, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; matrices decay in full at every step, also the slices that the drawn k leaves without gradient."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and n not in ("cls_token", "pos_embed")]
    ids = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in ids]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that an interruption leaves the last one whole."""
    temporary = path.with_name(path.name + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def train(data: Pictures, recipe: Recipe, checkpoint: Path, resume: bool, save_every: float) -> NestedViT:
    """Run the recipe, writing `checkpoint` every `save_every` seconds and at the end."""
    model = NestedViT(
        image_size=recipe.image_size,
        patch=recipe.patch,
        depth=recipe.depth,
        heads=max(recipe.heads),
        head_dim=recipe.head_dim,
        classes=len(data.labels),
    )
    model.init_weights(torch.Generator().manual_seed(recipe.seed))
    optimizer = optimizer_for(model, recipe)
    start = 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] != vars(recipe):
            raise TrainError(f"{checkpoint} belongs to another recipe: give its flags, or train without --resume")
        model.load_state_dict(state["state_dict"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    steps = len(data.y) // recipe.batch * recipe.epochs
    if steps == 0:
        raise TrainError(f"{len(data.y)} pictures make no batch of {recipe.batch}: give a smaller --batch")
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (MEAN, STD))

    def state_at(step: int) -> dict[str, Any]:
        return {
            "arch": "hydravit",
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "recipe": vars(recipe),
            "labels": data.labels,
        }

    saved = time.monotonic()
    running = math.log(len(data.labels))
    with click.progressbar(length=steps, label="Training", file=sys.stderr, show_pos=True) as bar:
        bar.update(start)
        for step, x, y, k in batches(data, recipe, start):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, recipe)
            logits = model((x - mean) / std, k)
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=False)  # zero gradients, so that unsampled slices still decay
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            running += 0.01 * (loss.item() - running)
            if step % 50 == 0:
                bar.label = f"Training, loss {running:.3f}"
            bar.update(1)
            if time.monotonic() - saved > save_every:
                save(checkpoint, state_at(step + 1))
                saved = time.monotonic()
    save(checkpoint, state_at(steps))
    return model


@click.command(context_settings={"show_default": True})
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of train/ and test/.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Weight file to write.")
@click.option("--epochs", default=10, type=click.IntRange(1))
@click.option("--head-dim", default=16, type=click.Choice([16, 32, 64]))
@click.option("--depth", default=6, type=click.IntRange(1))
@click.option("--patch", default=4, type=click.IntRange(1))
@click.option("--image-size", default=32, type=click.IntRange(1))
@click.option("--batch", default=64, type=click.IntRange(1))
@click.option("--lr", default=1e-3, type=click.FloatRange(0, min_open=True))
@click.option("--largest-share", default=0.15, type=click.FloatRange(0, 1), help="How often k=12 is drawn.")
@click.option("--seed", default=0, type=click.IntRange(0))
@click.option("--threads", default=None, type=click.IntRange(1), help="[default: every core]")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside the output.")
@click.option("--save-every", default=120.0, help="Seconds between checkpoints.")
@click.option("--dataset", default=None, help="Name of the test pictures, stored in the file.  [default: the path]")
@click.option("--licence", default="Apache-2.0", help="Licence of the weights, stored in the file.")
@one_sentence
def main(
    data: Path,
    output: Path,
    threads: int | None,
    resume: bool,
    save_every: float,
    largest_share: float,
    dataset: str | None,
    licence: str,
    **recipe: Any,
) -> None:
    """Train on DATA/train, test on DATA/test, write OUTPUT and, beside it, a checkpoint (.pth)."""
    if recipe["image_size"] % recipe["patch"]:
        raise TrainError("the image size must be a multiple of the patch: change --image-size or --patch")
    if threads:
        torch.set_num_threads(threads)
    heads = tuple(range(3, 13))
    rest = (1 - largest_share) / (len(heads) - 1)
    weights = (*(rest for _ in heads[1:]), largest_share)
    spec = Preprocessing(recipe["image_size"], crop=1.0, mean=MEAN, std=STD)
    pictures = read_folder(data / "train", spec)
    if list(class_folders(data / "test")) != pictures.labels:
        raise TrainError(f"{data}/train and {data}/test hold different classes: make them the same")
    checkpoint = output.with_suffix(".pth")
    recipe_ = Recipe(heads=heads, weights=weights, **recipe)
    model = train(pictures, recipe_, checkpoint, resume, save_every)
    arch = Architecture(recipe_.image_size, recipe_.patch, recipe_.depth, recipe_.head_dim, heads, len(pictures.labels))
    result = export(
        model.state_dict(),
        arch,
        spec,
        pictures.labels,
        dataset=dataset or f"{data.resolve().name}/test",
        checkpoint=checkpoint,
        test=data / "test",
        output=output,
        licence=licence,
    )
    for row in result.rows:
        click.echo(f"k={row.k}: {row.top1:.2%}")


if __name__ == "__main__":
    main()
