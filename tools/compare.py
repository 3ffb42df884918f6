"""Compare one nested network with networks that are trained alone, all with the same recipe.

    python -m tools.compare train --data DIR --results R.json --work WORK --epochs 30
    python -m tools.compare time --results R.json
    python -m tools.compare report --results R.json --table R.md --plot R.png

The trainings are those of HydraViT's paper: 3, 6 and 12 heads alone, and four nested networks, with and without
weighted sampling and separate classifiers. A fifth nested network trains three networks in each step (the "sandwich").
Each finished training is added to the results and is not repeated, so the comparison may take several sessions. An
unfinished training continues from its checkpoint in WORK.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from hydrart.bench.machine import machine
from hydrart.bench.shapes import random_weights
from hydrart.bench.timing import Times, interleave
from hydrart.cli import training as options
from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.progress import Bars
from hydrart.format.architecture import Architecture
from hydrart.model import load
from hydrart.plotting import figure_class
from hydrart.targets import replacing
from hydrart.train.loop import Place
from hydrart.train.recipe import HEADS, SHAPE, Recipe, TrainError
from hydrart.train.run import Files, device_named, precision_on, train_and_test
from tools import figures

HEADS_ALONE = (3, 6, 12)


@dataclass(frozen=True)
class TrainingPlan:
    """One training.

    - heads: ks of the network.
    - weights: relative frequency of each k in training; () for equal ones.
    - separate: whether each k has its own classifier.
    - networks: number of ks that each step trains.
    """

    heads: tuple[int, ...]
    weights: tuple[float, ...] = ()
    separate: bool = False
    networks: int = 1


# Weighted sampling draws k in proportion to k, because a larger network has more to learn.
PLANS = {f"{k} heads alone": TrainingPlan((k,)) for k in HEADS_ALONE} | {
    "nested": TrainingPlan(HEADS),
    "nested, weighted": TrainingPlan(HEADS, HEADS),
    "nested, separate": TrainingPlan(HEADS, separate=True),
    "nested, weighted, separate": TrainingPlan(HEADS, HEADS, separate=True),
    "nested, sandwich": TrainingPlan(HEADS, networks=3),
}


def read_results(path: Path) -> dict[str, Any]:
    """Read the results of earlier commands; empty where the file does not exist. Raises TrainError."""
    if not path.exists():
        return {"recipe": None, "runs": {}}
    try:
        results = json.loads(path.read_text("utf-8"))
        for run in results["runs"].values():
            run["top1"] = {int(k): float(share) for k, share in run["top1"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainError(f"{path} holds no results of tools.compare: give another --results") from None
    return dict(results)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Replace the results in one step, so that an interruption leaves the old ones whole."""
    with replacing(path) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())


def shared_part(recipe: Recipe, data: Path) -> dict[str, Any]:
    """The settings that all trainings have in common, with JSON's types."""
    entries = recipe.entries() | {"data": data.resolve().name}
    varied = ("heads", "weights", "networks", "separate_classifiers", "mean", "std", "init", "teacher")
    return dict(json.loads(json.dumps({name: value for name, value in entries.items() if name not in varied})))


def architecture(results: dict[str, Any]) -> Architecture:
    """The architecture of the nested networks. Raises TrainError where nothing was trained."""
    if not results["runs"]:
        raise TrainError("there are no results yet: run python -m tools.compare train first")
    shape = {name: results["recipe"][name] for name in SHAPE}
    return Architecture(heads=HEADS, classes=results["classes"], **shape)


results_option = click.option(
    "--results", default="docs/comparison.json", type=click.Path(path_type=Path), help="JSON file of all results."
)


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Compare one nested network with networks of its sizes that are trained alone."""


@main.command("train")
@options.data_option
@results_option
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder for weights and checkpoints.")
@click.option("--only", multiple=True, type=click.Choice(list(PLANS)), help="These trainings.  [default: all]")
@click.option("--epochs", default=30, type=click.IntRange(1))
@click.option("--head-dim", default=SHAPE["head_dim"], type=click.Choice([16, 32, 64]))
@click.option("--depth", default=SHAPE["depth"], type=click.IntRange(1))
@click.option("--patch", default=SHAPE["patch"], type=click.IntRange(1))
@click.option("--image-size", default=SHAPE["image_size"], type=click.IntRange(1))
@click.option("--batch", default=128, type=click.IntRange(1))
@click.option("--lr", default=2e-3, type=click.FloatRange(0, 1, min_open=True))
@options.seed_option
@options.device_option
@options.training_threads_option
@one_sentence
def train_command(
    data: Path, results: Path, work: Path, only: tuple[str, ...], device: str, threads: int, **settings: Any
) -> None:
    """Train the networks that are not among the results yet."""
    place = Place(work, device_named(device), threads, progress=Bars())
    common = Recipe(heads=HEADS, precision=precision_on(place.device, "auto"), **settings)
    found = read_results(results)
    if found["recipe"] not in (None, shared_part(common, data)):
        raise TrainError(f"{results} holds trainings with another recipe: give its flags, or another --results")
    work.mkdir(parents=True, exist_ok=True)
    for name in only or PLANS:
        if name in found["runs"]:
            click.echo(f"{name}: already among the results", err=True)
            continue
        click.echo(name, err=True)
        plan = PLANS[name]
        output = work / (name.replace(",", "").replace(" ", "-") + ".safetensors")
        recipe = replace(
            common,
            heads=plan.heads,
            weights=plan.weights,
            separate_classifiers=plan.separate,
            networks=plan.networks,
        )
        files = Files(data=data, output=output)
        outcome = train_and_test(files, recipe, replace(place, checkpoint=output.with_suffix(".pth")), resume=True)
        found = read_results(results)  # another process may have added a training
        found["recipe"] = shared_part(common, data)
        found["classes"] = outcome.classes
        found["test_pictures"] = outcome.evaluation.pictures
        found["runs"][name] = {
            "top1": {row.k: row.top1 for row in outcome.evaluation.rows},
            "torch": torch.__version__,
        }
        write_results(results, found)


@main.command("time")
@results_option
@click.option("--threads", default=1, type=click.IntRange(1, 256))
@one_sentence
def time_command(results: Path, threads: int) -> None:
    """Measure the latency of each k with hydrart. The machine must be idle otherwise."""
    found = read_results(results)
    arch = architecture(found)
    x = np.random.default_rng(0).standard_normal((1, 3, arch.image_size, arch.image_size), np.float32)
    with random_weights(arch) as path:
        model = load(path, threads=threads)
        calls = {str(k): partial(model.logits, x, k) for k in arch.heads}
        turns = interleave(calls, budget_s=2)
    here = machine()
    found["latency"] = {
        "cpu": f"{here.cpu}, {here.isa}",
        "threads": threads,
        "ms": {k: round(Times.of(turn).p50_ms, 4) for k, turn in turns.items()},
    }
    write_results(results, found)
    click.echo(json.dumps(found["latency"]))


@main.command("report")
@results_option
@click.option("--table", default="docs/comparison.md", type=click.Path(path_type=Path), help="Markdown to write.")
@click.option("--plot", default="docs/comparison.png", type=click.Path(path_type=Path), help="Picture to write.")
@one_sentence
def report_command(results: Path, table: Path, plot: Path) -> None:
    """Write a table and a picture of the results so far."""
    figure_class()  # raises before any work where Matplotlib is missing
    found = read_results(results)
    arch = architecture(found)
    alone = {k: found["runs"][name]["top1"][k] for k in HEADS_ALONE if (name := f"{k} heads alone") in found["runs"]}
    done = [name for name in PLANS if name in found["runs"]]
    nested = {name: found["runs"][name]["top1"] for name in done if name.startswith("nested")}
    latency = {int(k): ms for k, ms in found.get("latency", {"ms": {}})["ms"].items()}
    recipe = found["recipe"]
    title = (
        f"{recipe['data']}: {recipe['epochs']} epochs each, {arch.depth} blocks, heads of {arch.head_dim}, "
        f"tested on {found['test_pictures']} pictures"
    )
    figures.comparison(plot, nested, alone, {k: arch.macs(k) / 1e9 for k in HEADS}, latency, title)
    table.write_text(markdown(found, arch, alone, nested, latency, plot.name), "utf-8")


def markdown(
    found: dict[str, Any],
    arch: Architecture,
    alone: dict[int, float],
    nested: dict[str, dict[int, float]],
    latency: dict[int, float],
    picture: str,
) -> str:
    """The comparison as a page in Markdown."""
    recipe = found["recipe"]
    missing = [name for name in PLANS if name not in found["runs"]]
    lines = [
        "# One nested network against networks trained alone",
        "",
        f"Top-1 in percent on the {found['test_pictures']} test pictures of {recipe['data']} (standard error "
        f"{100 * (0.25 / found['test_pictures']) ** 0.5:.1f} points at most). Every training has {recipe['epochs']} "
        f"epochs, the same recipe and the same seed. `python -m tools.compare` made it; a column is a training.",
        "",
    ]
    columns = {**({"alone": alone} if alone else {}), **nested}
    head = ["k", "GMACs", *(["ms"] if latency else []), *columns]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for k in HEADS:
        cells = [str(k), f"{arch.macs(k) / 1e9:.3f}"]
        cells += [f"{latency[k]:.2f}"] if latency else []
        cells += [f"{100 * top1[k]:.1f}" if k in top1 else "" for top1 in columns.values()]
        lines.append("| " + " | ".join(cells) + " |")
    if latency:
        place = found["latency"]
        lines += ["", f"ms: median of one picture in fp32 on {place['cpu']}, {place['threads']} thread(s)."]
    for name, top1 in nested.items():
        apart = ", ".join(f"{100 * (top1[k] - share):+.1f} with {k} heads" for k, share in alone.items())
        lines += ["", f"{name.capitalize()}, against alone: {apart}."] if alone else []
    if missing:
        lines += ["", f"Not trained yet: {'; '.join(missing)}."]
    return "\n".join([*lines, "", f"![accuracy against GMACs and latency]({picture})", ""])


if __name__ == "__main__":
    main()
