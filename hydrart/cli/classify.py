"""hydrart classify"""

import glob
import os
from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import Failure, one_sentence
from hydrart.cli.options import fit_option, json_option, merge_option, model_options, print_json, print_text, warn
from hydrart.errors import PictureError
from hydrart.format.merging import Merge
from hydrart.model import load
from hydrart.output.text import printable
from hydrart.picture.folders import matching, picture_files, why_unmatched


@click.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--k", type=int, default=None, help="Heads to use.  [default: the most]")
@click.option("--top", default=3, type=click.IntRange(1), help="How many classes to show.")
@merge_option
@model_options
@fit_option
@json_option
@one_sentence
def classify(pictures: tuple[str, ...], k: int | None, top: int, merge: Merge, as_json: bool, **options: Any) -> None:
    """Classify PICTURES: files, folders or globs."""
    model = load(**options)
    arch = model.architecture
    arch.merges(arch.check_look(k) if arch.looks else arch.check_k(k), merge)  # raises before the first picture
    model.warm_up(*(() if k is None else (k,)))
    failed = 0
    paths: list[Path] = []
    for name in pictures:
        try:
            paths += _paths(name)
        except PictureError as error:
            failed += 1
            warn(f"skipped: {error}")
    total = failed + len(paths)
    for path in paths:
        try:
            answer = model(path, k, merge=merge)
        except PictureError as error:
            failed += 1
            warn(f"skipped: {error}")
            continue
        best = answer.top(top)
        if as_json:
            print_json(
                {
                    "picture": str(path),
                    "k": answer.k,
                    "label": answer.label,
                    "score": answer.score,
                    "top": best,
                    "preprocess_ms": answer.preprocess_ms,
                    "infer_ms": answer.infer_ms,
                }
            )
        else:
            print_text(f"{printable(path)}: {', '.join(f'{label} {score:.1%}' for label, score in best)}")
    if failed:
        warn(f"{failed} of {total} pictures could not be read")
    if failed == total:
        raise Failure("no picture could be classified: check the paths")


def _paths(name: str) -> list[Path]:
    if not name:
        raise Failure("one of the PICTURES is an empty text: name a file, a folder or a glob")
    path = Path(name)
    if os.path.isdir(path):
        if not (found := picture_files(path)):
            raise PictureError(f"{path} holds no pictures")
        return found
    if os.path.exists(path) or not glob.has_magic(name):
        return [path]
    if not (found := matching(name)):
        raise PictureError(why_unmatched(name))
    return found
