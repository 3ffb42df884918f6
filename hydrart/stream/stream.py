"""Stream: frames in, answers out, one k per frame."""

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NoReturn

import numpy as np

from hydrart.device.profiles import load_device
from hydrart.device.sensors import Sensors
from hydrart.errors import SettingError, SourceError
from hydrart.fork import call_in_children, free_in_children
from hydrart.governor.governor import Governor
from hydrart.model import Model, ShowProgress
from hydrart.source.camera import LIVE_FPS
from hydrart.source.opener import Opener
from hydrart.stream.answer import Answerer
from hydrart.stream.capture import Capture
from hydrart.stream.events import Event
from hydrart.stream.frame import Frame
from hydrart.stream.opening import default_wait_s, open_source
from hydrart.stream.pace import RateKeeper, RateLimit
from hydrart.stream.result import Result
from hydrart.stream.settings import check_settings
from hydrart.stream.stats import Stats
from hydrart.stream.watch import Watch

_FIRST_READING_S = 3.0  # longest wait for a goal's readings; the readers start before the measurement of the ks


class Stream:
    """Answers the frames of a source, each by its deadline, with as many heads as time, heat and battery allow.

    Iterate over it once. Use it in a `with` block, or call close(). `hydrart run` is this class with options.

        import hydrart

        model = hydrart.load()
        with hydrart.Stream(0, model, max_temp_c=75) as stream:
            for result in stream:
                print(result.prediction.label, result.age_ms)

    Before it opens the source, it runs every k. So no frame pays for the first call of a k, and the governor
    starts from this machine's latencies. While it runs, it reads the machine's sensors.

    - source: a camera (0 or "/dev/video0"), a URL, a video file, a folder, a glob, a picture or "demo". It may also be
      an iterable of uint8 RGB arrays [H, W, 3], or an Opener, which also sets size, rotation and more.
    - model: from hydrart.load().

    What to answer:

    - fps: frames per second to answer. Each is due 1/fps seconds after its capture. Default: with a governor, its rate;
      else the source's stated rate; else 15 for a live source. A source without any rate, for example a folder, has no
      deadline. A camera gets this rate as a request, by default 15. math.inf answers a file as fast as possible,
      without a deadline.
    - frames: "latest" answers the newest frame and drops older ones. "all" answers each frame.
      Default: latest for live sources, all for others.
    - smooth: number of frames in the mean of the probabilities. Default 1: no averaging.
    - keep_frame: results carry their picture. Default False.
    - bgr: the arrays of an iterable have their colours in the order of OpenCV. Default False.

    How k is chosen:

    - k: always run this number of heads. Default: the governor chooses.
    - min_k, max_k: bounds of the choice. Default: the smallest and the largest trained k.
    - max_temp_c: temperature to stay below, in degrees Celsius. Default: 2 below the device profile's throttling
      temperature; without a profile, none.
    - until_h: hours for which the battery must last. Default: no such goal.
    - miss_price: price of a missed frame in right answers. More gives fewer missed frames and smaller ks. Default 0.5.
    - device: the device profile for the start: a shipped profile's name, or a path. It also names the sensors.
      Default: no profile; hydrart finds the sensors.
    - governor: your own Governor, in place of these goals. It starts from the latencies measured here.
    - measure: False skips the runs before the first frame. Default True.
    - progress: a wrapper of the sequence of ks during these runs, like tqdm. Default: no display.
    - sensors: your own running Sensors; they stay open. Default: the stream opens and closes the device's sensors.

    When the source fails:

    - on_loss: "reconnect" opens a live source again, after pauses from 0.5 to 30 s. "exit" raises. Default reconnect.
    - wait_s: seconds of further tries at the start if a camera or stream is absent. Default: 10 for a URL,
      unless on_loss is "exit"; else 0.
    - patience_s: seconds without a frame after which a live source counts as lost, at least 3 periods. Default 5;
      math.inf waits without a limit.
    - on_event: called with an Event at each change of the state, in the thread that iterates.
    - on_wait: called about twice a second during a wait for a frame, in the thread that iterates.
    - warn: called with a sentence for each skipped picture, in the thread that reads.

    Attributes:

    - model: the model that answers.
    - governor: your governor, or the stream's own.
    - fps: the rate in force; None: no rate.
    - source_fps: the source's stated rate, or None.
    - answers_all: whether frames is "all".

    Raises SettingError (an impossible setting), HeadsError (an untrained k), ProfileError (no such device profile).
    Raises SourceError (the source cannot be opened), MissingExtraError (the source needs OpenCV or PyAV). The loop
    raises SourceError if the source is lost for good, and PictureError if an item of an iterable is no picture.
    """

    def __init__(
        self,
        source: Any,
        model: Model,
        *,
        fps: float | None = None,
        frames: str | None = None,
        smooth: int = 1,
        keep_frame: bool = False,
        bgr: bool = False,
        k: int | None = None,
        min_k: int | None = None,
        max_k: int | None = None,
        max_temp_c: float | None = None,
        until_h: float | None = None,
        miss_price: float | None = None,
        device: str | os.PathLike[str] | None = None,
        governor: Governor | None = None,
        measure: bool = True,
        progress: ShowProgress | None = None,
        sensors: Sensors | None = None,
        on_loss: str = "reconnect",
        wait_s: float | None = None,
        patience_s: float = 5.0,
        on_event: Callable[[Event], None] | None = None,
        on_wait: Callable[[], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if not isinstance(model, Model):
            raise SettingError(f"model={model!r:.80} is no model: pass what hydrart.load() returns")
        flags = {"keep_frame": keep_frame, "measure": measure, "bgr": bgr}
        calls = {"progress": progress, "on_event": on_event, "on_wait": on_wait, "warn": warn}
        waits = {"on_loss": on_loss, "wait_s": wait_s, "patience_s": patience_s}
        others = {"frames": frames, "smooth": smooth, "governor": governor, "sensors": sensors}
        check_settings(flags | calls | waits | others)
        if bgr and isinstance(source, Opener):
            raise SettingError("bgr and an Opener exclude each other: give bgr to the Opener")
        opener = source if isinstance(source, Opener) else Opener(source, fps=fps, warn=warn, bgr=bgr)
        goals: dict[str, Any] = {
            "k": k,
            "min_k": min_k,
            "max_k": max_k,
            "max_temp_c": max_temp_c,
            "until_h": until_h,
            "miss_price": miss_price,
        }
        given = [name for name, value in goals.items() if value is not None]
        if governor is not None and given:
            raise SettingError(f"{given[0]} and governor exclude each other: give {given[0]} to the Governor")
        if k is not None:
            if min_k is not None or max_k is not None:
                raise SettingError("k fixes the heads: leave min_k and max_k out")
            model.architecture.check_k(k)
        profile = model.profile(device)
        unpaced = isinstance(fps, float) and fps == math.inf
        Governor(profile, fps=None if unpaced else fps, **goals)  # a wrong rate or goal raises before the measurement
        self.model = model
        self._on_wait = on_wait or _ignore
        self._process = os.getpid()
        self._stop = free_in_children(threading.Event())
        with contextlib.ExitStack() as failed:
            self._own_sensors = failed.enter_context(contextlib.ExitStack())
            if sensors is None:
                names = load_device(device).sensors if device is not None else None
                sensors = self._own_sensors.enter_context(Sensors(names))
            model.preprocess(np.zeros((8, 8, 3), np.uint8))  # compiles the preprocessing, also without a measurement
            latency_ms = model.measure(progress) if measure else {}
            wait_s = default_wait_s(opener, on_loss) if wait_s is None else wait_s
            opened = open_source(opener, wait_s, on_event=on_event or _ignore, on_wait=self._on_wait)
            failed.callback(opened.close)
            self.source_fps = opened.fps
            if unpaced and opened.live:
                raise SettingError(f"fps=inf is for files: {opened.name} gives frames at a rate of its own")
            own = governor is None
            if governor is None:
                self.fps = None if unpaced else fps or opened.fps or (LIVE_FPS if opened.live else None)
                governor = Governor(profile.measured(latency_ms), fps=self.fps, **goals)
            else:
                self.fps = None if unpaced else fps or governor.fps
                if measure:
                    governor.start_from(latency_ms)
            if governor.blind(time.monotonic()):  # every goal is blind before the first readings
                sensors.wait(_FIRST_READING_S)
                governor.observe(time.monotonic(), **sensors.new())
                if own:  # a program may feed its own governor itself, later
                    governor.report_blind(time.monotonic())
            failed.pop_all()
        self.governor = governor
        self._live = opened.live
        self._pace = None if opened.live or unpaced else opened.fps or self.fps  # a file plays at the pace of a camera
        self.answers_all = not opened.live if frames is None else frames == "all"
        self._answer = Answerer(
            model,
            governor,
            sensors,
            may_drop=not self.answers_all,
            read_ahead=not opened.live,
            smooth=int(smooth),
            keep_frame=keep_frame,
        )
        self._stats = Stats(time.monotonic())
        self._watch = Watch(
            opened,
            opener.open if opener.repeatable and on_loss == "reconnect" else None,
            self._capture,
            patience_s=max(patience_s, 3 / (self.fps or opened.fps or math.inf)),
            stop=self._stop,
            on_event=on_event or _ignore,
            on_wait=self._on_wait,
        )
        call_in_children(self._leave)

    def __reduce__(self) -> NoReturn:
        raise SourceError(f"the stream of {self.name} cannot be sent to another process: open one there")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The source's name, for people."""
        return self._watch.source.name

    @property
    def detail(self) -> str:
        """The requested and the obtained format, for people. It may be empty."""
        return self._watch.source.detail

    @property
    def state(self) -> str:
        """The state: opening, running, stalled, reconnecting or ended."""
        return self._watch.state

    def stats(self) -> dict[str, Any]:
        """Return the summary so far, like the last line of `hydrart run --json`. Any thread may call it."""
        self._stats.seen, self._stats.skipped = self._watch.seen, self._watch.skipped
        return self._stats.summary(time.monotonic())

    def stop(self) -> None:
        """End the loop after the current frame. Any thread may call it."""
        self._stop.set()
        self._watch.stop()

    def close(self) -> None:
        """End the stream, and release its source and sensors. Any thread may call it.

        In the child of a fork it does nothing, because the stream belongs to the parent.
        """
        if self._watch.left:
            return
        self.stop()
        self._watch.close()
        self._own_sensors.close()
        self._stats.end = self._stats.end or time.monotonic()

    def _leave(self) -> None:
        """Leave the stream to the parent, in the child of a fork."""
        self._watch.leave(f"the stream of {self.name} belongs to process {self._process}: open one in this process")

    def __iter__(self) -> Iterator[Result]:
        self._watch.check_left()
        if self._stop.is_set() or self.state == "ended":
            raise SourceError(f"the stream of {self.name} has ended: open a new one")
        self._stats.start = time.monotonic()
        previous, losses = -1, 0
        try:
            with contextlib.closing(self._frames()) as frames:
                for frame in frames:
                    if self._watch.losses != losses:
                        losses = self._watch.losses
                        self._answer.forget()
                    result = self._answer(frame, dropped=frame.number - previous - 1)
                    if result is None:
                        continue  # the next frame counts this one as dropped
                    self._stats.add(result)
                    self._stats.heat(time.monotonic(), result.readings.get("throttled"))
                    previous = frame.number
                    yield result
        finally:
            self.close()

    def _capture(self, opening: Any, first: int) -> Capture:
        """Make the thread that reads a source of this stream."""
        expect = self.model.expect
        if self.answers_all:
            return Capture(opening, first=first, lossy=False, expect=expect, prepare=self._answer.prepare)
        return Capture(opening, first=first, expect=expect, fps=self._pace)

    def _frames(self) -> Generator[Frame, None, None]:
        """Yield the frames to answer, at most fps per second."""
        with contextlib.closing(self._watch.frames()) as frames:
            if not self.answers_all:
                yield from self._due(frames)
                return
            rate = RateKeeper(self.fps, self._stop, self._on_wait)
            while rate.wait():
                due = time.monotonic()
                frame = next(frames, None)
                if frame is None:
                    return
                yield frame.due(due) if self._live and self.fps else frame

    def _due(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield frames without a wait. Leave out a frame that comes too early, unless it is the stream's last."""
        limit = RateLimit(self.fps)
        early = None
        for frame in frames:
            if limit.allows(frame.t_ready):
                early = None
                yield frame
            else:
                early = frame
        if early is not None and not self._stop.is_set():
            yield early


def _ignore(*values: object) -> None:
    """A callback that does nothing."""
