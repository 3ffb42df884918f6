"""Turn a PyTorch checkpoint into a hydrart weight file, and compare the two.

    python tools/convert.py CHECKPOINT -o OUT.safetensors

CHECKPOINT is timm's .pth, .pth.tar or .safetensors of a HydraViT, a ViT or a DeiT, or a hydrart weight file that is
to be written with fewer heads or at a lower precision. Nothing in it is executed.
"""

import importlib.util
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hydrart.cli import training_options as flags
from hydrart.cli.errors import one_sentence
from hydrart.errors import HydrartError, MissingExtraError, WeightFileError
from hydrart.format.architecture import listing
from hydrart.format.layout import PRECISIONS
from hydrart.format.metadata import Metadata

if TYPE_CHECKING:
    from hydrart.convert.origin import Wishes
    from hydrart.convert.parity import Row

IMAGENET_LABELS = Path(__file__).with_name("imagenet1k.txt")


class ConvertError(HydrartError):
    """A conversion cannot be made, or its result differs from the checkpoint."""


@dataclass(frozen=True)
class Report:
    """What was written: its metadata and size, where the weights came from, assumptions, and the parity table."""

    output: Path
    meta: Metadata
    size: int
    entry: str
    notes: tuple[str, ...]
    rows: "list[Row]"


def convert(checkpoint: Path, output: Path, wishes: "Wishes", labels: Path | None = None) -> Report:
    """Write `output`; it takes its name only after its answers were compared with PyTorch's.

    Raises HydrartError, and leaves an `output` that was there before as it was.
    """
    from hydrart.convert import parity
    from hydrart.convert.origin import open_source

    try:
        if output.exists() and checkpoint.exists() and output.samefile(checkpoint):
            raise ConvertError(f"{output} is the checkpoint itself: give another name to write to")
        if output.is_dir():
            raise ConvertError(f"{output} is a folder: give the name of a file to write")
        folder = tempfile.TemporaryDirectory(prefix=".hydrart-", dir=output.parent)
    except OSError as error:
        raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
    with folder as name:
        part = Path(name) / output.name
        source = open_source(checkpoint, wishes)
        meta, notes = _labelled(source.meta, labels)
        entry, notes = source.entry, source.notes + notes
        try:
            source.write(part, meta)
        except WeightFileError as error:
            raise ConvertError(f"{checkpoint} cannot be converted: {_renamed(error, part, output)}") from None
        x = parity.picture(meta.preprocessing)
        expected = parity.pytorch_logits(source.tensors(), meta.architecture, source.heads, x)
        del source  # the checkpoint leaves the memory before the new file is read
        rows = parity.compare(expected, parity.reference_logits(part, x), meta.architecture)
        _check(rows, meta.precision)
        size = part.stat().st_size
        try:
            os.replace(part, output)
        except OSError as error:
            raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
    return Report(output, meta, size, entry, notes, rows)


def read_labels(path: Path) -> tuple[str, ...]:
    """One label a line, or a JSON list of strings; UTF-8. Raises ConvertError."""
    try:
        text = path.read_text("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConvertError(f"{path} is not UTF-8 text: give one label a line, or a JSON list") from None
    except OSError as error:
        raise ConvertError(f"{path} cannot be read: {error.strerror}") from None
    labels: Any = [line.strip() for line in text.splitlines()]
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except (ValueError, RecursionError):
            raise ConvertError(f"{path} starts like a JSON list, but is none: correct it") from None
        if not all(isinstance(label, str) for label in labels):
            raise ConvertError(f"{path} holds a JSON list with other things than strings: give names only")
    if not labels:
        raise ConvertError(f"{path} holds no labels: give one a line, or a JSON list")
    for number, label in enumerate(labels, 1):
        if not label or not label.isprintable():
            raise ConvertError(f"label {number} of {path} is empty or holds control characters: correct it")
    return tuple(labels)


def _labelled(meta: Metadata, path: Path | None) -> tuple[Metadata, tuple[str, ...]]:
    classes = meta.architecture.classes
    if path is None and (meta.labels or classes != 1000):
        return meta, ()
    labels = read_labels(path or IMAGENET_LABELS)
    if len(labels) != classes:
        raise ConvertError(f"{path} holds {len(labels)} labels, the network has {classes} classes: make them match")
    notes = () if path else ("1000 classes are named as ImageNet's (give others with --labels)",)
    return replace(meta, labels=labels), notes


def _check(rows: "list[Row]", precision: str) -> None:
    for row in rows:
        if not math.isfinite(row.difference):
            raise ConvertError(
                f"the network of k={row.k} answers with numbers that are not finite, so no file was kept: "
                "its weights are damaged"
            )
        if precision == "fp32" and not row.within:
            raise ConvertError(
                f"the converted network differs from PyTorch's by {row.difference:.3g} at k={row.k}, so no file was "
                "kept: check the checkpoint's weights, and report it if they are sound"
            )


def _renamed(error: Exception, part: Path, output: Path) -> str:
    return str(error).replace(str(part), str(output))


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    callback=flags.weight_file,
    help="The weight file to write (.safetensors).",
)
@click.option("--no-ema", is_flag=True, help="Take the raw weights where averaged (EMA) ones are there as well.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), help="[default: fp32]")
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes: one a line, or a JSON list.")
@click.option("--heads", callback=flags.heads, help="Which k to convert: 3-12, or 3,6,12. [default: those trained]")
@click.option("--head-dim", type=click.Choice([16, 32, 64]), help="Channels of a head. [default: inferred]")
@click.option(
    "--family", type=click.Choice(["deit", "vit"]), help="Whose normalisation of pictures. [default: by its name]"
)
@click.option("--licence", help="Licence of the weights, stored in the file. [default: unknown]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@one_sentence
def main(checkpoint: Path, output: Path, no_ema: bool, labels: Path | None, as_json: bool, **wishes: Any) -> None:
    """Turn CHECKPOINT into a weight file and compare its answers with PyTorch's."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("convert.py", "PyTorch", "train")
    from hydrart.convert.origin import Wishes

    report = convert(checkpoint, output, Wishes(ema=not no_ema, **wishes), labels)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(_table(report), err=as_json)
    if as_json:
        click.echo(json.dumps(_entries(report)))


def _table(report: Report) -> str:
    arch, meta = report.meta.architecture, report.meta
    lines = [
        f"{report.output}: {report.size / 1e6:,.1f} MB, {meta.precision}, k = {listing(arch.heads)}, head_dim "
        f"{arch.head_dim}, depth {arch.depth}, {arch.image_size}x{arch.image_size} pixels, {arch.classes} classes",
        f"weights: {report.entry} of {meta.source}",
        "",
        "largest difference between the logits of this file and of PyTorch, on hydrart's demo picture:",
        f"{'k':>3} {'parameters':>12} {'GMACs':>8} {'difference':>12} {'same top-1':>11}",
    ]
    for row in report.rows:
        lines.append(
            f"{row.k:>3} {row.parameters:>12,} {row.gmacs:>8.3f} {row.difference:>12.2e} "
            f"{'yes' if row.same_top1 else 'no':>11}"
        )
    return "\n".join(lines)


def _entries(report: Report) -> dict[str, Any]:
    meta = report.meta
    return {
        "output": str(report.output),
        "bytes": report.size,
        "source": {"name": meta.source, "sha256": meta.source_sha256, "weights": report.entry},
        "precision": meta.precision,
        **asdict(meta.architecture),
        "preprocessing": asdict(meta.preprocessing),
        "labels": len(meta.labels),
        "licence": meta.licence,
        "notes": report.notes,
        "parity": [
            {
                "k": row.k,
                "parameters": row.parameters,
                "gmacs": row.gmacs,
                "max_difference": row.difference,
                "same_top1": row.same_top1,
            }
            for row in report.rows
        ],
    }


if __name__ == "__main__":
    main()
