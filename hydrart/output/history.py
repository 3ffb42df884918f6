"""Keep the last minute of a run, for displays."""

import time
from collections import deque
from typing import Any

from hydrart.stream.result import Result

_SECONDS = 60


class History:
    """The rates over the last two seconds, and the k of each of the last 60 seconds."""

    def __init__(self) -> None:
        self.ks: deque[int | None] = deque(maxlen=_SECONDS)
        self.dropped = 0
        self._second = int(time.monotonic())
        self._recent: deque[tuple[float, int]] = deque()

    def add(self, result: Result) -> None:
        """Add a result."""
        now = time.monotonic()
        self.dropped += result.dropped
        self._recent.append((now, result.dropped))
        while now - self._recent[0][0] > 2:
            self._recent.popleft()
        for _ in range(min(int(now) - self._second, _SECONDS)):
            self.ks.append(None)
        if not self.ks:
            self.ks.append(None)
        self._second = int(now)
        self.ks[-1] = result.prediction.k

    def rates(self) -> dict[str, Any]:
        """Return `camera`, `processed`, `dropped`: frames per second over the last two seconds. None before that."""
        span = self._recent[-1][0] - self._recent[0][0] if self._recent else 0.0
        if span <= 0:
            return dict.fromkeys(("camera", "processed", "dropped"))
        processed = (len(self._recent) - 1) / span
        dropped = sum(count for _, count in list(self._recent)[1:]) / span
        return {"camera": processed + dropped, "processed": processed, "dropped": dropped}
