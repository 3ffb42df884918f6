"""Count frames and keep the latencies of a stream, in bounded memory."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.stream.result import Result

_WINDOW = 36_000  # number of frames in the percentiles: 20 minutes at 30 fps

STAGES = ("capture_ms", "preprocess_ms", "infer_ms", "age_ms")


@dataclass
class Stats:
    """Counts since the start, and the last latencies of each stage.

    - start: time.monotonic() at the start.
    - seen: frames from the source.
    - skipped: unreadable pictures.
    - processed: answered frames.
    - dropped: frames that a newer frame replaced, and frames that the governor dropped.
    - missed: answers after the deadline.
    - switches: changes of k from one answered frame to the next.
    """

    start: float
    seen: int = 0
    skipped: int = 0
    processed: int = 0
    dropped: int = 0
    missed: int = 0
    switches: int = 0
    sum_k: int = 0
    last_k: int | None = None
    end: float | None = None
    throttled_s: float | None = None
    heat_at: float | None = None
    # These arrays have their full size from the start, so that memory does not grow.
    _times: NDArray[np.float32] = field(default_factory=lambda: np.full((_WINDOW, len(STAGES)), -1, np.float32))
    _max: list[float] = field(default_factory=lambda: [0.0] * len(STAGES))

    def add(self, result: Result) -> None:
        """Count an answered frame and the frames dropped before it."""
        answer = result.prediction
        times = (result.capture_ms, answer.preprocess_ms, answer.infer_ms, result.age_ms)
        self._times[self.processed % _WINDOW] = times
        self._max = [max(pair) for pair in zip(self._max, times, strict=True)]
        self.processed += 1
        self.dropped += result.dropped
        self.missed += result.missed
        self.sum_k += answer.k
        self.switches += self.last_k not in (None, answer.k)
        self.last_k = answer.k

    def heat(self, now: float, throttled: bool | None) -> None:
        """Add the time since the last call if the device is throttled. None: no sensor measures it."""
        if throttled is not None:
            seconds = now - self.heat_at if throttled and self.heat_at is not None else 0.0
            self.throttled_s = (self.throttled_s or 0.0) + seconds
        self.heat_at = now

    def rate(self, count: int, now: float) -> float:
        """Return a count per second since the start."""
        seconds = (self.end or now) - self.start
        return count / seconds if seconds > 0 else 0.0

    def summary(self, now: float) -> dict[str, Any]:
        """Return the summary line: rates, misses, percentiles per stage in milliseconds, mean k, switches."""
        lines: dict[str, Any] = {
            "seconds": round((self.end or now) - self.start, 3),
            "frames": self.processed,
            "dropped": self.dropped,
            "skipped": self.skipped,
            "camera_fps": round(self.rate(self.seen, now), 3),
            "processed_fps": round(self.rate(self.processed, now), 3),
            "dropped_fps": round(self.rate(self.dropped, now), 3),
            "miss_rate": self.missed / self.processed if self.processed else None,
            "mean_k": self.sum_k / self.processed if self.processed else None,
            "switches": self.switches,
            "throttled_s": None if self.throttled_s is None else round(self.throttled_s, 3),
        }
        recent = self._times[: min(self.processed, _WINDOW)]
        for column, stage in enumerate(STAGES):
            lines[stage] = None
            if len(recent):
                p50, p95 = np.percentile(recent[:, column], (50, 95)).tolist()
                lines[stage] = {"p50": round(p50, 3), "p95": round(p95, 3), "max": round(self._max[column], 3)}
        return lines
