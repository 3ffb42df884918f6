"""Options that say where frames come from."""

import re
from collections.abc import Callable
from typing import Any

import click

from hydrart.source.opener import Opener, default_source


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


_OPTIONS = (
    click.option("--camera", type=click.IntRange(0), default=None, help="Number of a V4L2 camera."),
    click.option(
        "--source",
        default=None,
        help="File, folder, glob, URL, /dev/video path, demo, or -:WxH:FORMAT for raw frames on stdin.",
    ),
    click.option("--size", type=Size(), default=None, help="Size to ask a camera for.  [default: 640x480]"),
    click.option("--flip", type=click.Choice(["h", "v", "hv"]), default=None, help="h: left to right, v: upside down."),
    click.option("--rotate", type=click.Choice([0, 90, 180, 270]), default=0, help="Degrees clockwise, before --flip."),
    click.option("--loop", is_flag=True, help="Play a file or folder over and over."),
)


SOURCE_NAMES = ("camera", "source", "size", "flip", "rotate", "loop")


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that make_opener() takes, by SOURCE_NAMES."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_opener(
    camera: int | None,
    source: str | None,
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
    if camera is not None and source is not None:
        raise click.UsageError("--camera and --source exclude each other")
    chosen: int | str = source if source is not None else camera if camera is not None else default_source()
    if chosen == "demo" and source is None:
        warn("no camera is here: playing the demo clip")
    return Opener(chosen, fps, size, flip, rotate, loop, warn)
