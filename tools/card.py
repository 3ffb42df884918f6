"""Write the measured part of a model card: accuracy by k and precision, confusions, the history of the weights.

    python -m tools.card weights/hydravit-cifar10.safetensors --test DIR --card docs/model-card.md

The part lies between two comments of the card and is replaced as a whole; accuracy.png and confusion.png are drawn
beside the card. The accuracies are those that `hydrart eval --record` wrote into NAME, NAME-bf16 and NAME-int8. The
confusions are counted on DIR/CLASS/* with the largest k.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from hydrart.cli.exit_codes import one_sentence
from hydrart.errors import HydrartError, PictureError
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FP32, PRECISIONS
from hydrart.format.reader import WeightFile
from hydrart.model import Model, load
from hydrart.picture.classes import class_indices
from hydrart.picture.folders import class_folders
from hydrart.plotting import figure_class
from tools import figures

CARD_BEGIN, CARD_END = "<!-- measured by tools/card.py -->", "<!-- end -->"  # around the measured part
WORST = 8  # number of confusions in the list

Counts = NDArray[np.int64]


class CardError(HydrartError):
    """A card has no place for the figures, or a weight file lacks them."""


def count_answers(model: Model, root: Path) -> Counts:
    """Count the answers of the largest k to the pictures root/CLASS/*: int64 [true class, answer].

    Pictures that cannot be read are left out. Raises SourceError.
    """
    folders = class_folders(root)
    counts = np.zeros((len(model.labels),) * 2, np.int64)
    total = sum(map(len, folders.values()))
    with click.progressbar(length=total, label=f"Classifying {root}", file=sys.stderr) as bar:
        for index, files in zip(class_indices(list(folders), model.labels), folders.values(), strict=True):
            for file in files:
                bar.update(1)
                try:
                    x = model.preprocess(file)
                except PictureError:
                    continue
                counts[index, int(model.logits(x).argmax())] += 1
    return counts


def family(path: Path) -> dict[str, Metadata]:
    """Read NAME, NAME-bf16 and NAME-int8: precision -> metadata of each file that records an accuracy.

    Raises CardError where NAME itself records none.
    """
    found = {}
    for precision in PRECISIONS:
        name = path if precision == FP32.name else path.with_stem(f"{path.stem}-{precision}")
        if precision != FP32.name and not name.exists():
            continue
        meta = WeightFile(name).meta
        if meta.accuracy is not None:
            found[precision] = meta
        elif precision == FP32.name:
            raise CardError(f"{name} records no accuracy: run hydrart eval --record")
        else:
            click.echo(f"left out: {name} records no accuracy", err=True)
    return found


def accuracy_table(files: Mapping[str, Metadata]) -> list[str]:
    """A table in Markdown, one column for each k."""
    arch = next(iter(files.values())).architecture
    lines = ["| k | " + " | ".join(map(str, arch.heads)) + " |", "|---" * (len(arch.heads) + 1) + "|"]
    for precision, meta in files.items():
        assert meta.accuracy is not None
        for name, table in (("top-1", meta.accuracy.top1), ("top-5", meta.accuracy.top5)):
            if table:
                cells = " | ".join(f"{100 * table[k]:.1f}" for k in arch.heads)
                lines.append(f"| {name}, {precision}, % | {cells} |")
    lines.append("| parameters, M | " + " | ".join(f"{arch.parameters(k) / 1e6:.2f}" for k in arch.heads) + " |")
    lines.append("| GMACs | " + " | ".join(f"{arch.macs(k) / 1e9:.3f}" for k in arch.heads) + " |")
    return lines


def confusion_lines(counts: Counts, labels: Sequence[str]) -> list[str]:
    """The classes with the most and the fewest right answers, and the most frequent confusions, as one line."""
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    own = np.diag(share)
    best, worst = labels[int(own.argmax())], labels[int(own.argmin())]
    others = [(share[i, j], labels[i], labels[j]) for i, j in np.ndindex(*share.shape) if i != j]
    listed = "; ".join(f"{a} as {b} {100 * s:.0f} %" for s, a, b in sorted(others, reverse=True)[:WORST])
    return [
        f"Recognised best: {best} ({100 * own.max():.0f} %); least: {worst} ({100 * own.min():.0f} %). "
        f"Most often mistaken: {listed}.",
    ]


def history_lines(meta: Metadata) -> list[str]:
    """The training runs that the file records, as a list in Markdown."""
    lines = []
    for number, run in enumerate(meta.history, 1):
        short = {key: value for key, value in run.items() if not key.endswith("sha256")}
        lines.append(f"{number}. " + ", ".join(f"{key} {value}" for key, value in short.items()))
    return lines or ["Not recorded."]


def put(card: Path, lines: Sequence[str]) -> None:
    """Replace the lines between the two comments of the card. Raises CardError where it lacks them."""
    text = card.read_text("utf-8")
    before, begin, rest = text.partition(CARD_BEGIN)
    _, end, after = rest.partition(CARD_END)
    if not begin or not end:
        raise CardError(f"{card} lacks the lines {CARD_BEGIN} and {CARD_END}: put them where the figures belong")
    card.write_text(before + "\n".join([CARD_BEGIN, "", *lines, "", CARD_END]) + after, "utf-8")


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--test", required=True, type=click.Path(path_type=Path), help="Folder of CLASS/* to test on.")
@click.option("--card", required=True, type=click.Path(path_type=Path), help="Markdown file to put the figures into.")
@click.option("--threads", type=click.IntRange(1, 256))
@one_sentence
def main(weights: Path, test: Path, card: Path, threads: int | None) -> None:
    """Write accuracies, confusions and history of WEIGHTS into CARD."""
    figure_class()  # raises before the long part where Matplotlib is missing
    files = family(weights)
    meta = files[FP32.name]
    assert meta.accuracy is not None
    arch, k = meta.architecture, meta.architecture.heads[-1]
    model = load(weights, precision=FP32.name, threads=threads)
    counts = count_answers(model, test)
    figures.accuracy_curves(
        card.with_name("accuracy.png"),
        {name: file.accuracy.top1 for name, file in files.items() if file.accuracy},
        {k: arch.macs(k) / 1e9 for k in arch.heads},
    )
    top1 = np.trace(counts) / counts.sum()
    title = f"{weights.stem}, k={k}: answers in % of each class, {counts.sum()} pictures, {top1:.1%} right"
    figures.confusion(card.with_name("confusion.png"), counts, model.labels, title)
    put(
        card,
        [
            f"Measured on {meta.accuracy.pictures} pictures of {meta.accuracy.dataset}:",
            "",
            *accuracy_table(files),
            "",
            "![accuracy of every k](accuracy.png)",
            "",
            *confusion_lines(counts, model.labels),
            "",
            "![confusion matrix](confusion.png)",
            "",
            f"Trainings that led to the weights, licensed {meta.licence}:",
            "",
            *history_lines(meta),
        ],
    )


if __name__ == "__main__":
    main()
