"""What a stream has done so far, in bounded memory."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_WINDOW = 36_000  # frames that percentiles look back on: 20 minutes at 30 fps

STAGES = ("capture_ms", "preprocess_ms", "infer_ms", "age_ms")


@dataclass
class Stats:
    """Counts since the start, and the last latencies of each stage.

    seen: frames that the source gave; processed: answered; dropped: replaced before they were taken; missed:
    answered after their deadline.
    """

    start: float
    seen: int = 0
    processed: int = 0
    dropped: int = 0
    missed: int = 0
    switches: int = 0
    sum_k: int = 0
    last_k: int | None = None
    end: float | None = None
    throttled_s: float | None = None
    heat_at: float | None = None
    stages: dict[str, deque[float]] = field(default_factory=lambda: {stage: deque(maxlen=_WINDOW) for stage in STAGES})

    def add(self, k: int, missed: bool, dropped: int, stages: dict[str, float]) -> None:
        """Count an answered frame, and those dropped before it."""
        self.processed += 1
        self.dropped += dropped
        self.missed += missed
        self.sum_k += k
        self.switches += self.last_k not in (None, k)
        self.last_k = k
        for stage, value in stages.items():
            self.stages[stage].append(value)

    def heat(self, now: float, throttled: bool | None) -> None:
        """Count the time for which the device was throttled; unknown where no sensor ever told."""
        if throttled is not None:
            seconds = now - self.heat_at if throttled and self.heat_at is not None else 0.0
            self.throttled_s = (self.throttled_s or 0.0) + seconds
        self.heat_at = now

    def rate(self, count: int, now: float) -> float:
        """Count per second since the start."""
        seconds = (self.end or now) - self.start
        return count / seconds if seconds > 0 else 0.0

    def summary(self, now: float) -> dict[str, Any]:
        """The summary line: rates, misses, percentiles per stage in milliseconds, mean k, switches."""
        lines: dict[str, Any] = {
            "seconds": round((self.end or now) - self.start, 3),
            "frames": self.processed,
            "dropped": self.dropped,
            "camera_fps": round(self.rate(self.seen, now), 3),
            "processed_fps": round(self.rate(self.processed, now), 3),
            "dropped_fps": round(self.rate(self.dropped, now), 3),
            "miss_rate": self.missed / self.processed if self.processed else None,
            "mean_k": self.sum_k / self.processed if self.processed else None,
            "switches": self.switches,
            "throttled_s": None if self.throttled_s is None else round(self.throttled_s, 3),
        }
        for stage, values in self.stages.items():
            if values:
                p50, p95 = np.percentile(values, (50, 95)).tolist()
                lines[stage] = {"p50": round(p50, 3), "p95": round(p95, 3), "max": round(max(values), 3)}
            else:
                lines[stage] = None
        return lines
