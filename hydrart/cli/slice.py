"""hydrart slice"""

from pathlib import Path

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import WeightsCommand
from hydrart.cli.options import FilePath, json_option, print_json, print_text
from hydrart.errors import WeightFileError
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from hydrart.resources import find
from hydrart.targets import refuse_inputs


@click.command("slice", cls=WeightsCommand)
@click.argument("weights", metavar="IN")
@click.option("--heads", "k", required=True, type=int, help="The largest k of the new file.")
@click.option("-o", "--output", required=True, type=FilePath(), help="File to write.")
@json_option
@one_sentence
def slice_command(weights: str, k: int, output: Path, as_json: bool) -> None:
    """Copy a weight file without its largest ks.

    The new file holds the heads of IN up to --heads, for a device that never uses more.
    """
    source = WeightFile(find(weights, "weights", ".safetensors", WeightFileError))
    k = source.meta.architecture.check_k(k)
    refuse_inputs(output, [source.path])
    copy_prefix(source, output, source.meta.cut(k))
    size = output.stat().st_size
    if as_json:
        print_json({"output": str(output), "heads": WeightFile(output).heads, "bytes": size})
    else:
        print_text(f"{output}: k up to {k}, {size / 1e6:.1f} MB of {source.path.stat().st_size / 1e6:.1f} MB")
