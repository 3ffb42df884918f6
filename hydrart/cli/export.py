"""hydrart export"""

from pathlib import Path

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import WeightsCommand
from hydrart.cli.options import FilePath, json_option, print_json, suffixed
from hydrart.errors import WeightFileError
from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from hydrart.resources import find


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
@click.option("--heads", "k", type=int, help="Which k to write.  [default: the largest]")
@json_option
@one_sentence
def export_command(weights: str, output: Path, k: int | None, as_json: bool) -> None:
    """Write one k as an ONNX model, for other runtimes.

    WEIGHTS is a weight file or the name of one that ships. The model takes any batch size. Labels, preprocessing and
    licence are in its metadata.
    """
    from hydrart.convert.to_onnx import write_onnx

    done = write_onnx(WeightFile(find(weights, "weights", ".safetensors", WeightFileError)), output, k)
    if as_json:
        print_json(
            {
                "output": str(done.output),
                "heads": done.k,
                "bytes": done.size,
                "opset": done.opset,
                "max_difference": done.difference,
            }
        )
        return
    click.echo(f"{done.output}: k={done.k}, {done.size / 1e6:,.1f} MB, opset {done.opset}")
    if done.difference is None:
        click.echo(f"not compared with hydrart's answers, which needs ONNX Runtime: {install_command('onnx')}")
    else:
        click.echo(f"largest difference between the logits of ONNX Runtime and the reference: {done.difference:.2e}")
