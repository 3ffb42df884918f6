"""Options that say where frames come from."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hydrart.errors import SourceError
from hydrart.source.opener import Opener, default_source, may_be_source

_LONGEST = 65536  # characters of a source in a file


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT in pixels, as a pair."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
        if not match:
            self.fail(f"{value} is no size: write it as 640x480", param, ctx)
        return int(match[1]), int(match[2])


def _once(context: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> Any:
    """The value of an option that may be given once; None where it is not given. click would take the last one."""
    if len(values) > 1:
        raise click.BadParameter("it is given more than once: a run has one source", context, option)
    return values[0] if values else None


_OPTIONS = (
    click.argument("positional", metavar="[SOURCE]", required=False),
    click.option(
        "--camera", type=click.IntRange(0), multiple=True, callback=_once, help="Number of a V4L2 camera.", default=None
    ),
    click.option(
        "--source",
        multiple=True,
        callback=_once,
        default=None,
        help="The same as SOURCE: file, folder, glob, URL, /dev/video path, demo, -:WxH:FORMAT for raw frames on "
        "stdin, or @FILE, whose first line is the source.",
    ),
    # A word such as -:640x480:rgb24 would be an unknown option without this one.
    click.option(
        "-:", "raw", metavar="WxH:FORMAT", multiple=True, callback=_once, default=None, help="Raw frames on stdin."
    ),
    click.option("--size", type=Size(), default=None, help="Size to ask a camera for.  [default: 640x480]"),
    click.option("--flip", type=click.Choice(["h", "v", "hv"]), default=None, help="h: left to right, v: upside down."),
    click.option("--rotate", type=click.Choice([0, 90, 180, 270]), default=0, help="Degrees clockwise, before --flip."),
    click.option("--loop", is_flag=True, help="Play a file or folder over and over."),
)


SOURCE_NAMES = ("positional", "camera", "source", "raw", "size", "flip", "rotate", "loop")


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that make_opener() takes, by SOURCE_NAMES."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_opener(
    positional: str | None,
    camera: int | None,
    source: str | None,
    raw: str | None,
    size: tuple[int, int] | None,
    flip: str | None,
    rotate: int,
    loop: bool,
    *,
    fps: float | None,
    warn: Callable[[str], None],
) -> Opener:
    """What opens the source that the options name. Without one it is the first camera, or the demo clip.

    fps: what a camera is asked for. warn: is called with each sentence that people should read.
    """
    values = {"--camera": camera, "--source": source, "SOURCE": positional, "-:": raw and f"-:{raw}"}
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other")
    if positional is not None and not may_be_source(positional):
        raise click.UsageError(f"there is no file {positional}, and no command or option of that name")
    chosen: int | str = next(iter(given.values())) if given else default_source()
    if chosen == "demo" and not given:
        warn("no camera is here: playing the demo clip")
    if isinstance(chosen, str) and chosen.startswith("@"):
        chosen = _read(Path(chosen[1:]))
    return Opener(chosen, fps, size, flip, rotate, loop, warn)


def _read(path: Path) -> str:
    """The source that a file names on its first line: an address with a password need not stand in the command line."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            line = file.readline(_LONGEST).strip()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}): @ names a file that holds the source") from None
    if not line or line.startswith("@") or "\0" in line:
        raise SourceError(f"{path} names no source: write a file, folder or address on its first line")
    return line
