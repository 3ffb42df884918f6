"""Stream: frames in, answers out, one k per frame."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.device.sensors import Sensors
from hydrart.errors import SettingError, SourceError
from hydrart.governor.governor import Governor
from hydrart.model import Model
from hydrart.source.opener import Opener
from hydrart.stream.capture import Capture
from hydrart.stream.events import Event
from hydrart.stream.frame import Frame
from hydrart.stream.pace import RateKeeper, RateLimit
from hydrart.stream.result import Result
from hydrart.stream.smooth import Smoother
from hydrart.stream.stats import Stats
from hydrart.stream.watch import Watch

_switches = logging.getLogger("hydrart.governor")


class Stream:
    """Iterate over it for results, once; use it in a `with` block, or close() it.

    source: see Opener; an Opener itself does, too. fps: frames per second to answer; it also sets the deadline.
    governor: chooses k; without one a Governor for fps and the model's own table. sensors: running ones; the governor
    is told what they read. frames: "latest" answers the newest frame and drops what came meanwhile, "all" answers
    each; the default is latest for live sources. keep_frame: results carry their picture. smooth: average the
    probabilities of so many frames. on_loss: "reconnect" opens a live source again when it fails or gives no frame
    for patience_s, with longer and longer pauses; "exit" ends the stream with the error. on_event: is told of changes
    of the state, in the thread that iterates; on_wait is called there twice a second while there is nothing to do.
    warn: is told of pictures that are skipped, in the thread that captures. Raises SourceError, SettingError.
    """

    def __init__(
        self,
        source: Any,
        model: Model,
        *,
        fps: float | None = None,
        governor: Governor | None = None,
        sensors: Sensors | None = None,
        frames: str | None = None,
        keep_frame: bool = False,
        smooth: int = 1,
        on_loss: str = "reconnect",
        patience_s: float = 5.0,
        on_event: Callable[[Event], None] = lambda event: None,
        on_wait: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        if frames not in (None, "latest", "all"):
            raise SettingError(f"frames={frames!r} is unknown: choose latest or all")
        if on_loss not in ("reconnect", "exit"):
            raise SettingError(f"on_loss={on_loss!r} is unknown: choose reconnect or exit")
        if smooth < 1:
            raise SettingError(f"smooth={smooth} is no number of frames: pass 1 or more")
        opener = source if isinstance(source, Opener) else Opener(source, fps=fps, warn=warn)
        opened = opener.open()
        self._governor = governor or Governor(model.profile(), fps=fps)
        self._sensors = sensors
        self._model = model
        self._latest = opened.live if frames is None else frames == "latest"
        self._fps = fps
        self._live = opened.live
        self._keep_frame = keep_frame
        self._smoother = Smoother(smooth)
        self._on_wait = on_wait
        self._losses = 0
        self._captured = -math.inf
        self._stop = threading.Event()
        self._stats = Stats(time.monotonic())
        self._watch = Watch(
            opened,
            opener.open if opener.repeatable and on_loss == "reconnect" else None,
            self._capture,
            patience_s=max(patience_s, 3 / (fps or opened.fps or math.inf)),
            stop=self._stop,
            on_event=on_event,
            on_wait=on_wait,
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The source, for people."""
        return self._watch.source.name

    @property
    def state(self) -> str:
        """opening, running, stalled, reconnecting or ended."""
        return self._watch.state

    def stats(self) -> dict[str, Any]:
        """The summary of what was done so far; from any thread."""
        self._stats.seen, self._stats.skipped = self._watch.seen, self._watch.skipped
        return self._stats.summary(time.monotonic())

    def stop(self) -> None:
        """End the loop after the frame at hand; from any thread."""
        self._stop.set()
        self._watch.stop()

    def close(self) -> None:
        """End the stream and give back its source; from any thread."""
        self.stop()
        self._watch.close()
        self._stats.end = self._stats.end or time.monotonic()

    def __iter__(self) -> Iterator[Result]:
        if self._stop.is_set() or self.state == "ended":
            raise SourceError(f"the stream of {self.name} has ended: open a new one")
        self._stats.start = time.monotonic()
        previous = -1
        try:
            with contextlib.closing(self._frames()) as frames:
                for frame in frames:
                    result = self._answer(frame, dropped=frame.number - previous - 1)
                    if result is None:
                        continue  # counted as dropped before the next one
                    previous = frame.number
                    yield result
        finally:
            self.close()

    def _capture(self, opening: Any, first: int) -> Capture:
        """How a source of this stream is read."""
        if self._latest:
            pace = None if self._live else self._watch.source.fps or self._fps  # a file plays as a camera would
            return Capture(opening, first=first, fps=pace)
        return Capture(opening, first=first, lossy=False, prepare=self._prepare)

    def _frames(self) -> Generator[Frame, None, None]:
        """What to answer, at most fps a second."""
        with contextlib.closing(self._watch.frames()) as frames:
            if self._latest:
                yield from self._due(frames)
                return
            rate = RateKeeper(self._fps, self._stop, self._on_wait)
            while rate.wait():
                frame = next(frames, None)
                if frame is None:
                    return
                yield frame

    def _due(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Frames as they come, so that none waits for its turn; of those that come too early only the very last."""
        limit = RateLimit(self._fps)
        early = None
        for frame in frames:
            if limit.allows(frame.t_ready):
                early = None
                yield frame
            else:
                early = frame
        if early is not None and not self._stop.is_set():
            yield early

    def _prepare(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        start = time.perf_counter()
        x = self._model.preprocess(picture)
        return x, (time.perf_counter() - start) * 1e3

    def _answer(self, frame: Frame, dropped: int) -> Result | None:
        """None where the governor drops the frame, which it may do only where frames may be lost."""
        governor, now = self._governor, time.monotonic()
        t_capture, t_wall = frame.t_capture, frame.t_wall
        ahead_ms = frame.prepared[1] if frame.prepared else 0.0
        if frame.prepared and not self._live:
            # a file's frame was read ahead; it is as old as if it had been read just in time
            t_capture = max(now - ahead_ms / 1e3, self._captured + 1e-6)  # stamps grow, also to six decimals
            t_wall = time.time() - (now - t_capture)
        self._captured = t_capture
        # what the governor expects of a k contains the preprocessing
        waited_ms = max((now - t_capture) * 1e3 - ahead_ms, 0.0)
        decision = governor.choose(now, waited_ms, queued_ms=min((now - frame.t_ready) * 1e3, waited_ms))
        if decision.drop and self._latest:
            return None
        if self._stats.last_k not in (None, decision.k):
            _switches.info("k %d -> %d, %s", self._stats.last_k, decision.k, decision.why)
        x, preprocess_ms = frame.prepared or self._prepare(frame.picture)
        prediction = self._model.answer(x, decision.k, preprocess_ms)
        now = time.monotonic()
        if self._watch.losses != self._losses:
            self._losses = self._watch.losses
            self._smoother.forget()
        governor.observe(now, decision.k, prediction.latency_ms, **(self._sensors.new() if self._sensors else {}))
        readings = self._sensors.latest() if self._sensors else {}
        deadline = governor.deadline_ms
        result = Result(
            frame.number,
            t_capture,
            t_wall,
            self._smoother(prediction),
            frame.capture_ms,
            age_ms=(now - t_capture) * 1e3,
            deadline_ms=None if math.isinf(deadline) else deadline,
            dropped=dropped,
            decision=decision,
            readings=readings,
            picture=frame.picture if self._keep_frame else None,
            stamp=frame.stamp,
        )
        self._stats.add(result)
        self._stats.heat(now, readings.get("throttled"))
        return result
