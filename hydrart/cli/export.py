"""hydrart export"""

from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import WeightsCommand
from hydrart.cli.options import FilePath, json_option, print_json, print_text, suffixed
from hydrart.errors import WeightFileError
from hydrart.format.architecture import listing
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from hydrart.resources import find

ALL_HEADS = "all"


class _Heads(click.ParamType[Any]):
    """One k, or all."""

    name = "heads"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == ALL_HEADS else click.INT.convert(value, param, ctx)


@click.command("export", cls=WeightsCommand)
@click.argument("weights")
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(),
    callback=suffixed(".onnx"),
    help="The model to write (.onnx).",
)
@click.option(
    "--heads", type=_Heads(), help="Which k to write; all: one model that takes k as an input.  [default: the largest]"
)
@json_option
@one_sentence
def export_command(weights: str, output: Path, heads: int | str | None, as_json: bool) -> None:
    """Write one k, or all, as an ONNX model, for other runtimes.

    WEIGHTS is a weight file or the name of one that ships. The model takes any batch size. Labels, preprocessing and
    licence are in its metadata.
    """
    from hydrart.convert.to_onnx import write_onnx

    file, every = WeightFile(find(weights, "weights", ".safetensors", WeightFileError)), heads == ALL_HEADS
    done = write_onnx(file, output, None if isinstance(heads, str) else heads, every=every)
    if as_json:
        print_json(
            {
                "output": str(done.output),
                "heads": done.k,
                "bytes": done.size,
                "opset": done.opset,
                "max_difference": done.difference,
                "every_k": every,
            }
        )
        return
    ks = listing(file.heads) if every else done.k
    print_text(f"{done.output}: k={ks}, {done.size / 1e6:,.1f} MB, opset {done.opset}")
    if done.difference is None:
        print_text(f"not compared with hydrart's answers, which needs ONNX Runtime: {install_command('onnx')}")
    else:
        print_text(f"largest difference between the logits of ONNX Runtime and the reference: {done.difference:.2e}")
