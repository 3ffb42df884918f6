"""Stream: frames in, answers out, one k per frame."""

import contextlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError, SourceError
from hydrart.governor.governor import Decision, Governor
from hydrart.governor.sensors import Sensors, Values
from hydrart.model import Model, Prediction
from hydrart.stream.frame import Frame
from hydrart.stream.mailbox import Mailbox
from hydrart.stream.source import Source, open_source
from hydrart.stream.stats import Stats

_switches = logging.getLogger("hydrart.governor")

_PATIENCE_S = 5.0  # a live source that is silent for longer has failed


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one frame.

    frame: its number; t_capture: time.monotonic() when it was captured, t_wall: time.time(); prediction: label,
    score, k and stage times; capture_ms: what the source worked for it; age_ms: from capture to answer;
    deadline_ms: what age_ms may be, None without a rate; dropped: frames lost since the last result; decision: the
    governor's, its reason in a word and the numbers behind it; sensed: what is known from sensors, by the names of
    Governor.observe; picture: uint8 RGB [H, W, 3] if the stream keeps it.
    """

    frame: int
    t_capture: float
    t_wall: float
    prediction: Prediction
    capture_ms: float
    age_ms: float
    deadline_ms: float | None
    dropped: int
    decision: Decision
    sensed: Values = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None

    @property
    def missed(self) -> bool:
        """Whether the answer came after its deadline."""
        return self.deadline_ms is not None and self.age_ms > self.deadline_ms

    def as_dict(self) -> dict[str, Any]:
        """The JSON line of this frame; what is not known is None."""
        answer = self.prediction
        return {
            "frame": self.frame,
            "t_capture": round(self.t_capture, 6),
            "t_wall": round(self.t_wall, 6),
            "k": answer.k,
            "label": answer.label,
            "score": round(answer.score, 4),
            "top": [[label, round(score, 4)] for label, score in answer.top(5)],
            "capture_ms": round(self.capture_ms, 3),
            "preprocess_ms": round(answer.preprocess_ms, 3),
            "infer_ms": round(answer.infer_ms, 3),
            "age_ms": round(self.age_ms, 3),
            "deadline_ms": None if self.deadline_ms is None else round(self.deadline_ms, 3),
            "missed": self.missed,
            "dropped": self.dropped,
            "temp_c": _rounded(self.sensed.get("temp_c"), 2),
            "battery": _rounded(self.sensed.get("battery"), 4),
            "power_w": _rounded(self.sensed.get("power_w"), 3),
            "reason": self.decision.reason,
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


class Stream:
    """Iterate over it for results; use it in a `with` block, or close() it.

    source: see open_source. fps: frames per second to answer; it also sets the deadline. governor: chooses k;
    without one a Governor for fps and the model's own table. sensors: running ones; the governor is told what they
    read. frames: "latest" answers the newest frame and drops
    what came meanwhile, "all" answers each; the default is latest for live sources. keep_frame: results carry
    their picture. warn: is told of pictures that are skipped. Raises SourceError, SettingError.
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
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        if frames not in (None, "latest", "all"):
            raise SettingError(f"frames={frames!r} is unknown: choose latest or all")
        self._governor = governor or Governor(model.profile(), fps=fps)
        self._sensors = sensors
        self._model = model
        self._source: Source = open_source(source, fps=fps, warn=warn)
        self._latest = self._source.live if frames is None else frames == "latest"
        self._fps = fps
        self._keep_frame = keep_frame
        self._stop = threading.Event()
        self._mailbox = Mailbox()
        self._thread: threading.Thread | None = None
        self._reading = threading.Lock()
        self._stats = Stats(time.monotonic())

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The source, for people."""
        return self._source.name

    @property
    def skipped(self) -> int:
        """Pictures that could not be read so far."""
        return self._source.skipped

    def stats(self) -> dict[str, Any]:
        """The summary of what was done so far."""
        return self._stats.summary(time.monotonic())

    def stop(self) -> None:
        """End the loop after the frame at hand; from any thread."""
        self._stop.set()
        self._mailbox.close()

    def close(self) -> None:
        """End the stream and give back its source; from any thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=6)  # a camera that stalls returns from its read after 5 s
        # OpenCV crashes when a source is closed during a read; one that never ends keeps its source
        if self._reading.acquire(timeout=2):
            self._source.close()
            self._reading.release()
        self._stats.end = self._stats.end or time.monotonic()

    def __iter__(self) -> Iterator[Result]:
        if self._stop.is_set():
            raise SourceError(f"the stream of {self.name} has ended: open a new one")
        self._stats.start = time.monotonic()
        previous = -1
        frames = self._newest() if self._latest else self._every(self._fps)
        try:
            with contextlib.closing(frames):
                for frame in frames:
                    result = self._answer(frame, dropped=frame.number - previous - 1)
                    if result is None:
                        continue  # counted as dropped before the next one
                    previous = frame.number
                    yield result
        finally:
            self.close()

    def _answer(self, frame: Frame, dropped: int) -> Result | None:
        """None where the governor drops the frame, which it may do only where frames may be lost."""
        governor = self._governor
        now = time.monotonic()
        decision = governor.choose(now, waited_ms=(now - frame.t_capture) * 1e3)
        if decision.drop and self._latest:
            return None
        if self._stats.last_k not in (None, decision.k):
            _switches.info("k %d -> %d, %s", self._stats.last_k, decision.k, decision.why)
        prediction = self._model(frame.picture, decision.k)
        now = time.monotonic()
        governor.observe(now, decision.k, prediction.latency_ms, **(self._sensors.news() if self._sensors else {}))
        sensed = self._sensors.latest() if self._sensors else {}
        deadline = governor.deadline_ms
        result = Result(
            frame.number,
            frame.t_capture,
            frame.t_wall,
            prediction,
            frame.capture_ms,
            age_ms=(now - frame.t_capture) * 1e3,
            deadline_ms=None if math.isinf(deadline) else deadline,
            dropped=dropped,
            decision=decision,
            sensed=sensed,
            picture=frame.picture if self._keep_frame else None,
        )
        stages = {
            "capture_ms": frame.capture_ms,
            "preprocess_ms": prediction.preprocess_ms,
            "infer_ms": prediction.infer_ms,
            "age_ms": result.age_ms,
        }
        self._stats.add(decision.k, result.missed, dropped, stages)
        self._stats.heat(now, sensed.get("throttled"))
        return result

    def _every(self, fps: float | None) -> Generator[Frame, None, None]:
        """Each frame of the source, at most fps a second."""
        rate = RateKeeper(fps, self._stop)
        pictures = self._source.pictures()
        for number in itertools.count():
            with self._reading:
                start = time.perf_counter()
                picture = None if self._stop.is_set() else next(pictures, None)
                capture_ms = (time.perf_counter() - start) * 1e3
            if picture is None:
                return
            self._stats.seen += 1
            if not (self._source.live or rate.wait()):
                return
            yield Frame(picture, number, time.monotonic(), time.time(), capture_ms)

    def _newest(self) -> Generator[Frame, None, None]:
        """The latest frame of the source, at most fps a second."""
        self._thread = threading.Thread(target=self._capture, name="hydrart-capture", daemon=True)
        self._thread.start()
        rate = RateKeeper(self._fps, self._stop)
        while rate.wait():
            try:
                frame = self._mailbox.take(_PATIENCE_S if self._source.live else threading.TIMEOUT_MAX)
            except TimeoutError:
                raise SourceError(
                    f"{self.name} gave no frame for {_PATIENCE_S:g} s: check its cable and supply"
                ) from None
            if frame is None:
                return
            yield frame

    def _capture(self) -> None:
        error: Exception | None = None
        try:
            for frame in self._every(self._source.fps or self._fps):
                self._mailbox.put(frame)
        except Exception as failure:  # told to the reader, whatever it is
            error = failure
        finally:
            self._mailbox.close(error)


class RateKeeper:
    """Waits for the next of evenly spaced times, counted from the first, so that nothing drifts."""

    def __init__(self, fps: float | None, stop: threading.Event) -> None:
        self._period = 1 / fps if fps else 0.0
        self._next = -math.inf
        self._stop = stop

    def wait(self) -> bool:
        """Wait for the next time, or not at all if it has passed; False when the stream was told to end."""
        now = time.monotonic()
        if self._next < now - self._period:
            self._next = now  # the first time, or late by more than one
        elif self._next > now:
            self._stop.wait(min(self._next - now, threading.TIMEOUT_MAX))
        self._next += self._period
        return not self._stop.is_set()
