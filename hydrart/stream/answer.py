"""Turn a frame into its result: choose k, classify, and record times and readings."""

import logging
import math
import time

import numpy as np
from numpy.typing import NDArray

from hydrart.device.sensors import Sensors
from hydrart.governor.governor import Governor
from hydrart.model import Model
from hydrart.stream.frame import Frame
from hydrart.stream.result import Result
from hydrart.stream.smooth import Smoother

_switches = logging.getLogger("hydrart.governor")


class Answerer:
    """Answer one frame after another, in one thread.

    - may_drop: whether the governor may drop a frame.
    - read_ahead: whether frames are read before they are due, like those of a file.
    - smooth: number of frames in the mean of the probabilities.
    - keep_frame: whether results carry their picture.
    """

    def __init__(
        self,
        model: Model,
        governor: Governor,
        sensors: Sensors,
        *,
        may_drop: bool,
        read_ahead: bool,
        smooth: int,
        keep_frame: bool,
    ) -> None:
        self._model = model
        self._governor = governor
        self._sensors = sensors
        self._may_drop = may_drop
        self._read_ahead = read_ahead
        self._keep_frame = keep_frame
        self._smoother = Smoother(smooth)
        self._captured = -math.inf
        self._last_k: int | None = None

    def prepare(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Turn uint8 RGB [H, W, 3] into the input, float32 [1, 3, size, size]. Returns it and its milliseconds."""
        start = time.perf_counter()
        x = self._model.preprocess(picture)
        return x, (time.perf_counter() - start) * 1e3

    def forget(self) -> None:
        """Start a new mean with the next frame's probabilities."""
        self._smoother.forget()

    def __call__(self, frame: Frame, dropped: int) -> Result | None:
        """Answer a frame. Returns None if the governor drops it. dropped: frames lost since the last result."""
        now = time.monotonic()
        t_capture, t_wall = frame.t_capture, frame.t_wall
        ahead_ms = frame.prepared[1] if frame.prepared else 0.0
        if frame.prepared and self._read_ahead:
            # A frame that was read ahead counts as captured just before its preprocessing. Stamps grow by at least a
            # microsecond, the last digit of a JSON line.
            t_capture = max(now - ahead_ms / 1e3, self._captured + 1e-6)
            t_wall = time.time() - (now - t_capture)
        self._captured = t_capture
        # The governor's expected latency of a k includes the preprocessing.
        waited_ms = max((now - t_capture) * 1e3 - ahead_ms, 0.0)
        decision = self._governor.choose(now, waited_ms, queued_ms=min((now - frame.t_ready) * 1e3, waited_ms))
        if decision.drop and self._may_drop:
            return None
        if self._last_k not in (None, decision.k):
            _switches.info("k %d -> %d, %s", self._last_k, decision.k, decision.why)
        self._last_k = decision.k
        x, preprocess_ms = frame.prepared or self.prepare(frame.picture)
        prediction = self._model.answer(x, decision.k, preprocess_ms)
        now = time.monotonic()
        self._governor.observe(now, decision.k, prediction.latency_ms, **self._sensors.new())
        deadline = self._governor.deadline_ms
        return Result(
            frame.number,
            t_capture,
            t_wall,
            self._smoother(prediction),
            frame.capture_ms,
            age_ms=(now - t_capture) * 1e3,
            deadline_ms=None if math.isinf(deadline) else deadline,
            dropped=dropped,
            decision=decision,
            blind=tuple(self._governor.blind(now)),
            readings=self._sensors.latest(),
            picture=frame.picture if self._keep_frame else None,
            stamp=frame.stamp,
            source_name=frame.file,
        )
