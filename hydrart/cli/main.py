"""The `hydrart` command."""

import io
import sys
from typing import Any

import click
from click.exceptions import Exit

import hydrart
from hydrart.cli.bench import bench
from hydrart.cli.bus_error import explain_bus_errors
from hydrart.cli.cameras import cameras_command
from hydrart.cli.classify import classify
from hydrart.cli.compiling import tell_when_compiling
from hydrart.cli.convert import convert_command
from hydrart.cli.devices import devices
from hydrart.cli.eval import evaluate_command
from hydrart.cli.exit_codes import drop_unwritable, writing
from hydrart.cli.export import export_command
from hydrart.cli.info import info
from hydrart.cli.options import warn
from hydrart.cli.replay import replay
from hydrart.cli.run import run
from hydrart.cli.service import service
from hydrart.cli.simulate import simulate
from hydrart.cli.slice import slice_command
from hydrart.cli.standard_streams import open_closed
from hydrart.cli.train import train
from hydrart.cli.train_teacher import train_teacher_command
from hydrart.cli.warmup import warmup
from hydrart.output.text import warnings_to
from hydrart.picture.silence import silence_decoders


class _Commands(click.Group):
    def main(self, *args: Any, **settings: Any) -> Any:
        open_closed()
        try:
            return super().main(*args, **settings)
        except OSError:  # wrong usage, and stderr does not take the message
            sys.exit(2)
        finally:
            drop_unwritable()

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        with writing():  # --help and --version write before a command is reached
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings_to(warn), writing():
                return super().invoke(ctx)
        except KeyboardInterrupt:  # before the command is reached
            raise Exit(130) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(hydrart.__version__)
def main() -> None:
    """Vision on a CPU: one nested Vision Transformer, any number of heads."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    silence_decoders()
    explain_bus_errors()
    tell_when_compiling()


COMMANDS = (
    run,
    classify,
    evaluate_command,
    info,
    slice_command,
    convert_command,
    export_command,
    train,
    train_teacher_command,
    devices,
    cameras_command,
    service,
    bench,
    warmup,
    simulate,
    replay,
)
for command in COMMANDS:
    main.add_command(command)
