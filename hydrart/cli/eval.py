"""hydrart eval"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hydrart.bench.evaluate import evaluate
from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import (
    FilePath,
    fit_option,
    json_option,
    merge_option,
    model_options,
    print_json,
    print_text,
    progress_bar,
    warn,
)
from hydrart.format.merging import Merge
from hydrart.format.writer import copy_prefix
from hydrart.model import load
from hydrart.picture.folders import class_folders


@click.command("eval")
@click.argument("folder", metavar="DIR", type=FilePath())
@click.option("--k", "ks", type=int, multiple=True, help="Heads to use; may be given several times.  [default: all]")
@click.option("--batch", default=64, type=click.IntRange(1, 4096), help="Pictures at a time.")
@click.option("--in-order", is_flag=True, help="The sorted folders are the classes in order, whatever their names are.")
@click.option(
    "--record", default=None, metavar="DATASET", help="Write the accuracy into the weight file; DATASET names the data."
)
@merge_option
@model_options
@fit_option
@json_option
@one_sentence
def evaluate_command(
    *,
    folder: Path,
    ks: tuple[int, ...],
    batch: int,
    in_order: bool,
    record: str | None,
    merge: Merge,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure accuracy and speed on the pictures DIR/CLASS/*.

    CLASS is a label of the network, in any case.
    """
    model = load(**options)
    if record is not None and ks:
        raise click.UsageError("--record needs every k: leave out --k")
    if record is not None and merge:
        raise click.UsageError("--record is for all tokens: leave out --merge")
    if record is not None and model.fit != "crop":
        raise click.UsageError("--record needs the weight file's own preprocessing: leave out --fit")
    ks = tuple(model.architecture.check_k(k) for k in ks) or model.heads
    for k in ks:
        model.architecture.merges(k, merge)  # raises before the long part
    total = sum(map(len, class_folders(folder).values()))
    with progress_bar("Evaluating", total) as bar:
        result = evaluate(model, folder, ks, batch=batch, in_order=in_order, merge=merge, step=bar.update)
    if not model.file.meta.labels:
        warn(f"{model.file.path} names no classes: the sorted folders are taken in the order of its classes")
    for sentence in result.skipped:
        warn(f"skipped: {sentence}")
    if result.skipped:
        warn(f"{len(result.skipped)} of {total} pictures could not be read")
    if record is not None:
        file = model.file
        copy_prefix(file, file.path, replace(file.meta, accuracy=result.accuracy(record)))
        warn(f"recorded in {file.path}")
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "pictures": result.pictures,
                "skipped": len(result.skipped),
                "precision": model.precision,
                "backend": model.backend,
                "results": [vars(row) for row in result.rows],
            }
        )
        return
    print_text(f"{result.pictures} pictures, {model.precision}, backend {model.backend}")
    print_text(" k   top-1   top-5  pictures/s   MMACs")
    for row in result.rows:
        macs = model.architecture.macs(row.k, merge) / 1e6
        print_text(f"{row.k:2}  {row.top1:6.2%}  {row.top5:6.2%}  {row.pictures_per_s:10.1f}  {macs:6.1f}")
