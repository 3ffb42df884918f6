"""Options that say where the results of `hydrart run` go."""

from collections.abc import Callable
from typing import Any

import click

from hydrart.cli.options import FilePath, Number

_OPTIONS = (
    click.option("--csv", "as_csv", is_flag=True, help="Print a row of CSV per answer on stdout."),
    click.option("--log", "log", type=FilePath(), default=None, help="File for every line and event."),
    click.option("--log-mb", type=Number(0.01, 1e6), default=10.0, help="Size at which the log begins a new file."),
    click.option("--save-video", type=FilePath(), default=None, help="Video file to write."),
    click.option("--on-change", is_flag=True, help="Print only when the label changes."),
    click.option("--quiet", is_flag=True, help="Nothing on stderr but errors."),
)
OUTPUT_NAMES = ("as_csv", "log", "log_mb", "save_video", "on_change", "quiet")


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that hydrart.output.outputs.Outputs takes, by OUTPUT_NAMES."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
