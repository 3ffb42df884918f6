"""hydrart run"""

import os
import sys
import threading
from typing import Any

import click
import numpy as np

from hydrart.cli.errors import drop_stdout, one_sentence
from hydrart.cli.interrupt import handled
from hydrart.cli.options import Number, json_option, model_options
from hydrart.cli.outputs import Outputs, output_options
from hydrart.cli.serving import Address, serve
from hydrart.cli.sources import make_opener, source_options
from hydrart.device.profiles import load_device
from hydrart.device.sensors import Sensors
from hydrart.governor.governor import Governor
from hydrart.model import Model, load
from hydrart.stream.stream import Stream

_LIVE_FPS = 15.0
_SOURCE = ("camera", "source", "size", "flip", "rotate", "loop")
_OUTPUT = ("log", "log_mb", "save_video", "on_change", "quiet")


@click.command()
@source_options
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
@click.option(
    "--on-loss", type=click.Choice(["reconnect", "exit"]), default="reconnect", help="When a camera or stream fails."
)
@click.option("--smooth", type=click.IntRange(1, 1000), default=1, help="Average the probabilities of so many frames.")
@click.option("--duration", type=Number(0.001, 1e9), default=None, help="Seconds to run.")
@click.option("--max-frames", type=click.IntRange(1), default=None, help="Frames to answer.")
@click.option("--serve", "serve_at", type=Address(), default=None, help="Serve the live page there.")
@output_options
@model_options
@json_option
@one_sentence
def run(
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
    on_loss: str,
    smooth: int,
    duration: float | None,
    max_frames: int | None,
    serve_at: tuple[str, int] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify a camera, a video or pictures, with the largest network that keeps up.

    Without --camera or --source it takes the first camera, or the demo clip where there is none. Ctrl-C ends it.
    """
    where = {name: options.pop(name) for name in _SOURCE}
    shown = {name: options.pop(name) for name in _OUTPUT}
    outputs = Outputs(as_json, **shown)
    if where["camera"] is not None and where["source"] is not None:
        raise click.UsageError("--camera and --source exclude each other")
    if k is not None and (min_k is not None or max_k is not None):
        raise click.UsageError("--k fixes the heads: leave --min-k and --max-k out")
    model = load(**options)
    if k is not None:
        model.architecture.check_k(k)
    profile = model.profile(device)
    goals: dict[str, Any] = {"k": k, "min_k": min_k, "max_k": max_k, "max_temp_c": max_temp, "until_h": until}
    Governor(profile, **goals)  # wrong goals are told before the long part
    names = load_device(device).sensors if device is not None else None
    sensors = Sensors(names, root=sensor_root, battery_cmd=battery_cmd)
    profile = profile.measured(warm_up(model, shown["quiet"]))
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")  # else a stalled camera holds us for 10 s
    with outputs:
        opener = make_opener(**where, fps=fps or _LIVE_FPS, told=outputs.say)
        opened = opener.peek()
        fps = fps or (_LIVE_FPS if opened.live else opened.fps)
        governor = Governor(profile, fps=fps, **goals)
        settings: dict[str, Any] = {
            "fps": fps,
            "governor": governor,
            "frames": frames,
            "on_loss": on_loss,
            "smooth": smooth,
            "keep_frame": shown["save_video"] is not None or serve_at is not None,
            "on_event": outputs.event,
            "on_wait": outputs.alive,
        }
        with sensors, Stream(opener, model, sensors=sensors, **settings) as stream:
            what = ", ".join(text for text in (opened.name, opened.detail, f"{fps:g} fps" if fps else "") if text)
            whole = not opened.live if frames is None else frames == "all"
            facts = {"source": opened.name, "weights": str(model.file.path), "fps": fps, **goals}
            title = f"{what}, {len(model.labels)} classes"
            outputs.start(title, model.heads[-1], fps or opened.fps or _LIVE_FPS, whole, facts)
            if serve_at is not None:
                facts = {"title": title, "heads": model.heads, "governor": governor, "fixed_k": k}
                page = serve(serve_at, outputs.say, **facts, state=lambda: stream.state, stats=stream.stats)
                outputs.serve(page)
            follow(stream, outputs, duration, max_frames)


def warm_up(model: Model, quiet: bool) -> dict[int, float]:
    """Run every k before the first frame, so that none pays for compiling or reading weights: k -> milliseconds."""
    size = model.architecture.image_size
    picture = np.zeros((size, size, 3), np.uint8)
    latencies = {}
    model.warm_up()
    with click.progressbar(model.heads, label="Warming up", file=sys.stderr, hidden=quiet) as bar:
        for k in bar:
            latencies[k] = min(model(picture, k).latency_ms for _ in range(3))
    return latencies


def follow(stream: Stream, outputs: Outputs, duration: float | None, max_frames: int | None) -> None:
    """Show results until the stream, the time or the frames end, or the user does; then the summary."""
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
