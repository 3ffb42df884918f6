"""hydrart run"""

import os
import signal
import sys
import threading
import time
from typing import Any

import click
import numpy as np

from hydrart.cli.errors import drop_stdout, one_sentence
from hydrart.cli.options import Number, json_option, model_options, print_json, warn
from hydrart.governor.device import load_device
from hydrart.governor.governor import Governor
from hydrart.governor.sensors import Sensors
from hydrart.model import Model, load
from hydrart.stream.output import LiveLine, summary_text
from hydrart.stream.source import default_source, open_source
from hydrart.stream.stream import Stream

_LIVE_FPS = 15.0


@click.command()
@click.option("--camera", type=click.IntRange(0), default=None, help="Number of a V4L2 camera.")
@click.option("--source", default=None, help="Video file, folder, glob, /dev/video path, or demo.")
@click.option("--fps", type=Number(0.001, 1000), default=None, help="Frames to answer a second.")
@click.option("--k", type=int, default=None, help="Fix the number of heads.")
@click.option("--min-k", type=int, default=None, help="Fewest heads the governor may choose.")
@click.option("--max-k", type=int, default=None, help="Most heads the governor may choose.")
@click.option("--max-temp", type=Number(1, 150), default=None, metavar="C", help="Temperature to stay below, Celsius.")
@click.option("--until", type=Number(0.001, 1e4), default=None, metavar="H", help="Hours that the battery shall last.")
@click.option("--battery-cmd", default=None, metavar="CMD", help="Prints the charge: a percentage, or JSON.")
@click.option("--sensor-root", default="/", metavar="DIR", help="Where sys and proc lie.")
@click.option("--device", default=None, help="Device profile to start from: a name that ships, or a file.")
@click.option(
    "--frames",
    type=click.Choice(["latest", "all"]),
    default=None,
    help="Drop frames that come too fast, or answer each.  [default: latest for cameras, all for files]",
)
@click.option("--duration", type=Number(0.001, 1e9), default=None, help="Seconds to run.")
@click.option("--max-frames", type=click.IntRange(1), default=None, help="Frames to answer.")
@model_options
@json_option
@one_sentence
def run(
    camera: int | None,
    source: str | None,
    fps: float | None,
    k: int | None,
    min_k: int | None,
    max_k: int | None,
    max_temp: float | None,
    until: float | None,
    battery_cmd: str | None,
    sensor_root: str,
    device: str | None,
    frames: str | None,
    duration: float | None,
    max_frames: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify a camera, a video or pictures, with the largest network that keeps up.

    Without --camera or --source it takes the first camera, or the demo clip where there is none. Ctrl-C ends it.
    """
    if camera is not None and source is not None:
        raise click.UsageError("--camera and --source exclude each other")
    if k is not None and (min_k is not None or max_k is not None):
        raise click.UsageError("--k fixes the heads: leave --min-k and --max-k out")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    model = load(**options)
    if k is not None:
        model.architecture.check_k(k)
    profile = model.profile(device)
    goals: dict[str, Any] = {"k": k, "min_k": min_k, "max_k": max_k, "max_temp_c": max_temp, "until_h": until}
    Governor(profile, **goals)  # wrong goals are told before the long part
    names = load_device(device).sensors if device is not None else None
    sensors = Sensors(names, root=sensor_root, battery_cmd=battery_cmd)
    latencies = warm_up(model)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")  # else a stalled camera holds us for 10 s
    chosen: int | str = source if source is not None else camera if camera is not None else default_source()
    if chosen == "demo" and source is None:
        warn("no camera is here: playing the demo clip")
    opened = open_source(chosen, fps=fps or _LIVE_FPS, warn=_warn_on_own_line)
    fps = fps or (_LIVE_FPS if opened.live else opened.fps)
    governor = Governor(profile, fps=fps, **goals)
    for heads, latency_ms in latencies.items():
        governor.observe(time.monotonic(), heads, latency_ms)
    with sensors, Stream(opened, model, fps=fps, governor=governor, sensors=sensors, frames=frames) as stream:
        warn(f"{stream.name}{f', {fps:g} fps' if fps else ''}, {len(model.labels)} classes")
        follow(stream, model, as_json, duration, max_frames)


def _warn_on_own_line(message: str) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)  # the live line, which comes again
    warn(message)


def warm_up(model: Model) -> dict[int, float]:
    """Run every k before the first frame, so that none pays for compiling or reading weights: k -> milliseconds."""
    size = model.architecture.image_size
    picture = np.zeros((size, size, 3), np.uint8)
    latencies = {}
    model.warm_up()
    with click.progressbar(model.heads, label="Warming up", file=sys.stderr) as bar:
        for k in bar:
            latencies[k] = min(model(picture, k).latency_ms for _ in range(2))
    return latencies


def follow(stream: Stream, model: Model, as_json: bool, duration: float | None, max_frames: int | None) -> None:
    """Show results until the stream, the time or the frames end, or the user does; then the summary."""
    live = LiveLine(model.heads[-1])
    timer = threading.Timer(duration or 0, stream.stop)
    try:
        if duration:
            timer.start()
        for count, result in enumerate(stream, 1):
            if as_json:
                print_json(result.as_dict())
            if not (as_json and sys.stdout.isatty()):  # they would share the line
                live.show(result)
            if count == max_frames:
                break
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        drop_stdout()
    finally:
        timer.cancel()
        live.end()
        stream.close()
        summary = stream.stats() | {"skipped": stream.skipped}
        if as_json:
            print_json({"summary": summary})
        else:
            click.echo(summary_text(summary))
