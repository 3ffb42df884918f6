"""hydrart convert"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import FilePath, heads_list, json_option, print_json, print_text, sizes_list, suffixed, warn
from hydrart.errors import WeightFileError
from hydrart.format.architecture import listing
from hydrart.format.precision import PRECISIONS
from hydrart.resources import find

if TYPE_CHECKING:
    from hydrart.convert.convert import Report


@click.command("convert")
@click.argument("checkpoint")
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(),
    callback=suffixed(".safetensors"),
    help="The weight file to write (.safetensors).",
)
@click.option("--no-ema", is_flag=True, help="Take the raw weights where averaged (EMA) ones are there as well.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), help="Precision to write.  [default: fp32]")
@click.option("--labels", type=FilePath(), help="Names of the classes: one a line, or a JSON list.")
@click.option("--heads", callback=heads_list, help="Which k to convert: 3-12, or 3,6,12.  [default: those trained]")
@click.option("--head-dim", type=click.Choice([16, 32, 64]), help="Channels of a head.  [default: inferred]")
@click.option(
    "--family", type=click.Choice(["deit", "vit"]), help="Whose normalisation of pictures.  [default: by its name]"
)
@click.option(
    "--sizes", callback=sizes_list, help="Picture sizes of ProgResViT's looks: 192,240.  [default: as it says]"
)
@click.option(
    "--crop", type=click.FloatRange(0.1, 1), help="Share of the short side that pictures keep.  [default: as it says]"
)
@click.option("--licence", help="Licence of the weights, stored in the file.  [default: unknown]")
@json_option
@one_sentence
def convert_command(
    checkpoint: str, output: Path, no_ema: bool, labels: Path | None, as_json: bool, **wishes: Any
) -> None:
    """Turn a checkpoint into a weight file.

    CHECKPOINT is a .safetensors, .pth or .pth.tar file of a HydraViT, ThinkingViT, ProgResViT, ViT or DeiT. It may also
    be a folder with model.safetensors and config.json, or a hydrart weight file or the name of one that ships, to be
    written with fewer heads, other labels or a lower precision.

    The answers of both are compared. Nothing in a checkpoint is executed. Only .pth files need PyTorch.
    """
    # imported here because other commands need none of it
    from hydrart.convert.convert import convert
    from hydrart.convert.origin import Wishes

    source = find(checkpoint, "weights", ".safetensors", WeightFileError)
    report = convert(source, output, Wishes(ema=not no_ema, **wishes), labels)
    for note in report.notes:
        warn(f"note: {note}")
    if as_json:
        click.echo(_table(report), err=True)
    else:
        print_text(_table(report))
    if as_json:
        print_json(_entries(report))


def _table(report: "Report") -> str:
    arch, meta = report.meta.architecture, report.meta
    lines = [
        f"{report.output}: {report.size / 1e6:,.1f} MB, {meta.precision}, k = {listing(arch.heads)}, head_dim "
        f"{arch.head_dim}, depth {arch.depth}, {arch.image_size}x{arch.image_size} pixels, {arch.classes} classes",
        f"weights: {report.entry} of {meta.source}",
        "",
        f"largest difference between the logits of this file and of {report.reference}, on hydrart's demo picture:",
        f"{'k':>3} {'parameters':>12} {'GMACs':>8} {'difference':>12} {'same top-1':>11}",
    ]
    for row in report.rows:
        lines.append(
            f"{row.k:>3} {row.parameters:>12,} {row.gmacs:>8.3f} {row.difference:>12.2e} "
            f"{'yes' if row.same_top1 else 'no':>11}"
        )
    return "\n".join(lines)


def _entries(report: "Report") -> dict[str, Any]:
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
        "compared_with": report.reference,
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
