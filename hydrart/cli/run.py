"""hydrart run"""

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import drop_stdout, one_sentence
from hydrart.cli.interrupt import handled
from hydrart.cli.listing import NamesOption, device_names
from hydrart.cli.options import Number, fit_option, json_option, model_options, progress_bar
from hydrart.cli.output_options import OUTPUT_NAMES, output_options
from hydrart.cli.serving import HostPort, serve
from hydrart.cli.source_options import SOURCE_NAMES, make_opener, source_options
from hydrart.device.profiles import load_device
from hydrart.device.sensors import Sensors
from hydrart.errors import ProfileError
from hydrart.model import load
from hydrart.output.log import log_files
from hydrart.output.outputs import Outputs
from hydrart.resources import find
from hydrart.source.paths import files_of
from hydrart.stream.stream import Stream
from hydrart.targets import refuse_inputs, refuse_twice


class Rate(Number):
    """Frames per second, or max: as many as can be answered."""

    name = "rate"

    def __init__(self) -> None:
        super().__init__(0.001, 1000)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return math.inf if value == "max" else super().convert(value, param, ctx)


@click.command()
@source_options
@click.option(
    "--fps",
    type=Rate(),
    default=None,
    help="Frames to answer per second; max: a file as fast as it goes.  [default: the source's]",
)
@click.option("--k", type=int, default=None, help="Fix the number of heads.")
@click.option("--min-k", type=int, default=None, help="Fewest heads the governor may choose.")
@click.option("--max-k", type=int, default=None, help="Most heads the governor may choose.")
@click.option("--max-temp", type=Number(1, 150), default=None, metavar="C", help="Temperature to stay below, Celsius.")
@click.option("--until", type=Number(0.001, 1e4), default=None, metavar="H", help="Hours that the battery shall last.")
@click.option(
    "--miss-price",
    type=Number(0, 1e6),
    default=None,
    metavar="P",
    help="Price of a missed frame, in right answers: more of it gives fewer missed frames.  [default: 0.5]",
)
@click.option(
    "--battery-cmd", default=None, metavar="CMD", help="Command that prints the charge: a percentage, or JSON."
)
@click.option("--sensor-root", default="/", metavar="DIR", help="Folder that holds sys and proc.")
@click.option(
    "--device",
    cls=NamesOption,
    names=device_names,
    default=None,
    help="Device profile to start from: the name of one that ships, or a file.",
)
@click.option(
    "--frames",
    type=click.Choice(["latest", "all"]),
    default=None,
    help="Answer the newest frame and drop others, or answer each.  [default: latest for cameras, all for files]",
)
@click.option(
    "--on-loss",
    type=click.Choice(["reconnect", "exit"]),
    default="reconnect",
    help="What to do when a camera or stream fails.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Number(0, 1e9),
    default=None,
    metavar="S",
    help="Seconds to try again at the start, until the source is there.  [default: 10 for URLs, else 0]",
)
@click.option("--smooth", type=click.IntRange(1, 1000), default=1, help="Frames whose probabilities are averaged.")
@click.option("--duration", type=Number(0.001, 1e9), default=None, help="Seconds to run.")
@click.option("--max-frames", type=click.IntRange(1), default=None, help="Frames to answer.")
@click.option("--serve", "serve_at", type=HostPort(), default=None, help="Serve the live page there.")
@click.option("--token", "asks_token", is_flag=True, help="Let the live page ask for its token on loopback, too.")
@output_options
@model_options
@fit_option
@json_option
@one_sentence
def run(
    *,
    fps: float | None,
    k: int | None,
    min_k: int | None,
    max_k: int | None,
    max_temp: float | None,
    until: float | None,
    miss_price: float | None,
    battery_cmd: str | None,
    sensor_root: str,
    device: str | None,
    frames: str | None,
    on_loss: str,
    wait_s: float | None,
    smooth: int,
    duration: float | None,
    max_frames: int | None,
    serve_at: tuple[str, int] | None,
    asks_token: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify the frames of a camera, a video or pictures.

    It runs the largest network that keeps up. Without a source it takes the first camera, or the demo clip where there
    is no camera. Ctrl-C ends it.
    """
    where = {name: options.pop(name) for name in SOURCE_NAMES}
    shown = {name: options.pop(name) for name in OUTPUT_NAMES}
    if k is not None and (min_k is not None or max_k is not None):
        raise click.UsageError("--k fixes the heads: leave --min-k and --max-k out")
    if as_json and shown["as_csv"]:
        raise click.UsageError("--json and --csv exclude each other")
    refuse_twice(shown["log"], shown["save_video"])
    if asks_token and serve_at is None:
        raise click.UsageError("--token is for the live page: add --serve")
    with Outputs(as_json=as_json, **shown) as outputs:
        opener = make_opener(**where, fps=fps, warn=outputs.say)
        model = load(**options)
        named = [where[name].removeprefix("@") for name in ("positional", "source") if where[name] is not None]
        read = [*files_of(opener.source), *map(Path, named), model.file.path]
        if device is not None:
            read.append(find(device, "devices", ".yaml", ProfileError))
        for target in (*log_files(shown["log"]), shown["save_video"]):
            refuse_inputs(target, read)
        names = load_device(device).sensors if device is not None else None
        goals: dict[str, Any] = {
            "k": k,
            "min_k": min_k,
            "max_k": max_k,
            "max_temp_c": max_temp,
            "until_h": until,
            "miss_price": miss_price,
        }
        settings: dict[str, Any] = {
            "fps": fps,
            "device": device,
            "frames": frames,
            "on_loss": on_loss,
            "wait_s": wait_s,
            "smooth": smooth,
            "keep_frame": shown["save_video"] is not None or serve_at is not None,
            "progress": None if shown["quiet"] else _bar,
            "on_event": outputs.event,
            "on_wait": outputs.alive,
        }
        if serve_at is not None:
            bounds = {"k": k, "min_k": min_k, "max_k": max_k, "max_temp_c": max_temp}
            outputs.serve(serve(serve_at, opener.name, model, outputs, bounds, asks_token))
        with (
            Sensors(names, root=sensor_root, battery_cmd=battery_cmd) as sensors,
            Stream(opener, model, sensors=sensors, **goals, **settings) as stream,
        ):
            outputs.start(stream, {"source": stream.name, "weights": str(model.file.path), "fps": stream.fps, **goals})
            _follow(stream, outputs, duration, max_frames)


def _bar(ks: Sequence[int]) -> Iterator[int]:
    """The ks, with a bar on stderr that shows how many of them were measured."""
    with progress_bar("Warming up", over=ks) as bar:
        yield from bar


def _follow(stream: Stream, outputs: Outputs, duration: float | None, max_frames: int | None) -> None:
    """Hand on results until the stream, the time or the frames end, or the user ends it; then the summary."""
    timer = threading.Timer(duration or 0, stream.stop)
    try:
        if duration:
            timer.start()
        for count, result in enumerate(stream, 1):
            outputs.alive()
            outputs.result(result)
            if count == max_frames:
                break
    except KeyboardInterrupt:
        handled()
    except BrokenPipeError:
        drop_stdout()
    finally:
        timer.cancel()
        stream.close()
        outputs.summary(stream.stats())
