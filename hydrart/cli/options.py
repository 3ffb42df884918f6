"""Options that several commands share."""

import contextlib
import io
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import click

from hydrart.cli.listing import NamesOption, weights_names
from hydrart.engine import BACKENDS
from hydrart.engine.variants import PRECISION_CHOICES
from hydrart.errors import WeightFileError
from hydrart.json_lines import json_bytes
from hydrart.output.text import columns_of, fitted, printable
from hydrart.picture.preprocess import FITS
from hydrart.resources import DEFAULT_WEIGHTS, find, is_address

threads_option = click.option(
    "--threads", default=None, type=click.IntRange(1), help="Cores that a call may use.  [default: all]"
)

_MODEL_OPTIONS = (
    click.option(
        "--weights",
        cls=NamesOption,
        names=weights_names,
        default=DEFAULT_WEIGHTS,
        help="Weight file, or the name of one that ships.",
    ),
    click.option(
        "--precision",
        default="auto",
        type=click.Choice(PRECISION_CHOICES),
        help="Precision of the weights, in this file or in one beside it.",
    ),
    threads_option,
    click.option(
        "--no-mmap",
        "mmap",
        is_flag=True,
        callback=lambda ctx, param, value: not value,
        help="Read the whole weight file at the start instead of mapping it.",
    ),
    click.option("--backend", default="native", help=f"What computes: {', '.join(BACKENDS)}."),
)


# A terminal with fewer columns has no room for the position, or for the time left, beside the label and the bar.
_POS, _ETA = 70, 50

fit_option = click.option(
    "--fit",
    default="crop",
    type=click.Choice(FITS),
    help="Cut out the centre, or show all: with a border or distorted.",
)


class Number(click.FloatRange):
    """A range that NaN does not lie in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


class _Merge(click.ParamType[Any]):
    """How many tokens each block merges: one number, or one for each block with commas between."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", value):
            self.fail(f"{value!r:.60} is no number of tokens: write 6, or one for each block as 6,6,3,0", param, ctx)
        first, *others = map(int, value.split(","))
        return (first, *others) if others else first


merge_option = click.option(
    "--merge",
    default=0,
    type=_Merge(),
    help="Tokens that each block merges, such as 6, or one number for each block: 6,6,3,0.",
)


class FilePath(click.Path):
    """The path of a file or folder. An empty text would be the current folder, and an address is no path."""

    def __init__(self, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty: give the path of a file or folder", param, ctx)
        if isinstance(value, str) and is_address(value):
            self.fail("an address is no path: download the file, or name one on this machine", param, ctx)
        return super().convert(value, param, ctx)


def heads_list(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """'3-12', '3,6,12' or '6' as an ascending tuple."""
    if value is None:
        return None
    ks: set[int] = set()
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})\s*(?:-\s*(\d{1,2})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 64:
            raise click.BadParameter(f"{value!r} is no list of heads: write 3-12, or 3,6,12, or 6", ctx, param)
        ks.update(range(first, last + 1))
    return tuple(sorted(ks))


def sizes_list(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """'192,240' as a tuple."""
    if value is None:
        return None
    if not re.fullmatch(r"\s*[1-9]\d{0,3}\s*(,\s*[1-9]\d{0,3}\s*)*", value):
        raise click.BadParameter(f"{value!r:.60} is no list of sizes: write one such as 192,240", ctx, param)
    return tuple(map(int, value.split(",")))


def shipped(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """The path of a checkpoint or weight file, or of the network that ships under that name."""
    try:
        return None if value is None else find(value, "weights", ".safetensors", WeightFileError)
    except WeightFileError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def suffixed(suffix: str) -> Callable[[click.Context, click.Parameter, Path], Path]:
    """A click callback that takes paths with this suffix only."""

    def check(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
        if value.suffix != suffix:
            raise click.BadParameter(f"{value} must end in {suffix}", ctx, param)
        return value

    return check


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of hydrart.load."""
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


def print_json(entry: Mapping[str, Any]) -> None:
    """Print a JSON line on stdout, at once."""
    click.echo(json_bytes(entry), nl=False)


def print_text(text: str) -> None:
    """Print a result for people on stdout. On a terminal, long lines are broken between words."""
    click.echo(fitted(text, columns_of(sys.stdout)))


def warn(message: str) -> None:
    """A line for people, on stderr."""
    with contextlib.suppress(OSError):  # nobody may be listening
        click.echo(printable(message), err=True)


def progress_bar(label: str, length: int | None = None, over: Iterable[Any] | None = None) -> Any:
    """A bar on stderr that fits on one line of the terminal, over an iterable or of a length: click's ProgressBar."""
    columns = shutil.get_terminal_size().columns
    file = cast(TextIO, _Stderr())
    return click.progressbar(
        over, length, label=label, file=file, width=0, show_pos=columns >= _POS, show_eta=columns >= _ETA
    )


class _Stderr(io.TextIOBase):
    """stderr for a bar, which must not end the work where nobody can read it."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
