"""Encode results for the live page. One thread encodes them once for all watchers."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.background import Background
from hydrart.fork import free_in_children
from hydrart.json_lines import json_line
from hydrart.readings import View, shown
from hydrart.stream.events import Event
from hydrart.stream.result import Result

_EVERY_S = 0.1  # shortest interval of two rounds of sending, in seconds
_WIDEST, _TALLEST = 640, 1280  # largest picture in pixels; a larger one sends every n-th pixel
_QUALITY = 75
_LINES = 256  # limit of a slow reader's lag, in lines
_HISTORY_S, _SWITCHES = 600, 200
_RATE_S = 10.0  # window of the rate of answers, in seconds
_MOST_RATE_HZ = 1000
_DRAWN = ("k", "age_ms", "deadline_ms")  # fields that the page draws, besides the readings of a line

Seen = Callable[[int, int], tuple[float, float, float, float]]


class Feed:
    """The encoded results. It is safe to use from several threads.

    - published: called after each round of encoding, in the thread that encodes.
    - seen: from height and width of a picture to the part that the network sees: left, top, width and height, as shares
      of the picture.
    - failed: called with the error of a failed round. The thread goes on.

    Its attributes:

    - picture: the latest JPEG and its number.
    - lines: numbered JSON lines of results and events.
    - result_at: monotonic time of the last result.
    - state: the last change of the source's state.
    - trouble: why the latest picture could not be encoded; empty if it could.
    """

    def __init__(
        self,
        published: Callable[[], None],
        *,
        seen: Seen | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        from simplejpeg import encode_jpeg

        self._encode = encode_jpeg
        self._published, self._seen, self._failed = published, seen, failed
        self._changed = free_in_children(threading.Condition())
        self._watchers = 0
        self._closed = self._look = False
        self._latest: Result | None = None
        self._encoded: Result | None = None
        self._number = 0
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_LINES)
        self._points: deque[dict[str, Any]] = deque(maxlen=_HISTORY_S)
        self._switches: deque[dict[str, Any]] = deque(maxlen=_SWITCHES)
        self._times: deque[float] = deque(maxlen=int(_RATE_S * _MOST_RATE_HZ))
        self._last_k: int | None = None
        self.picture: tuple[int, bytes] = (0, b"")
        self.lines: deque[tuple[int, bytes]] = deque(maxlen=_LINES)
        self.result_at: float | None = None
        self.state = Event("opening", "the run begins", time.monotonic(), time.time())
        self.trouble = ""
        self._thread = Background("encode", self._run)
        self._thread.start()

    @property
    def latest(self) -> Result | None:
        """The last result."""
        return self._latest

    @property
    def silent_s(self) -> float | None:
        """Seconds since the last result; None before the first."""
        return None if self.result_at is None else time.monotonic() - self.result_at

    def rate(self) -> float:
        """Answers per second over the last ten seconds."""
        now = time.monotonic()
        times = [at for at in list(self._times) if now - at <= _RATE_S]
        return len(times) / max(min(_RATE_S, now - times[0]), 1.0) if times else 0.0

    def result(self, result: Result, line: dict[str, Any]) -> None:
        """Keep a result and its JSON line."""
        self._latest, self.result_at = result, time.monotonic()
        self._times.append(self.result_at)
        if self._last_k not in (None, line["k"]):
            switch = {"t": line["t_wall"], "from": self._last_k, "to": line["k"], "reason": result.decision.why}
            self._switches.append(switch)
        self._last_k = line["k"]
        if not self._points or int(line["t_wall"]) != int(self._points[-1]["t"]):
            names = (*_DRAWN, *shown(View.LINE))
            self._points.append({"t": line["t_wall"], **{name: line[name] for name in names}})
        if self._watchers:
            self._wake(self._extended(result, line))

    def event(self, event: Event) -> None:
        """Keep a change of state."""
        self.state = event
        if self._watchers:
            self._wake({"event": event.as_dict()})

    def history(self) -> dict[str, Any]:
        """Return a point for each second of the last ten minutes, the last switches of k, and the last line, if any."""
        latest = self._latest
        line = None if latest is None else self._extended(latest, latest.as_dict())
        return {"points": list(self._points), "switches": list(self._switches), "latest": line}

    def watch(self, more: int) -> None:
        """Add `more` to the number of watchers; it may be negative. Without watchers nothing is encoded."""
        with self._changed:
            self._watchers += more
            if more > 0:  # a new watcher gets the last picture even if no other follows
                self._look = True
                self._changed.notify()

    def close(self) -> None:
        """Publish the last results, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _extended(self, result: Result, line: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON line with the fields of the page added."""
        picture = result.picture
        seen = None
        if picture is not None and self._seen is not None:
            seen = [round(share, 4) for share in self._seen(picture.shape[0], picture.shape[1])]
        return line | {"why": result.decision.why, "seen": seen}

    def _wake(self, line: dict[str, Any]) -> None:
        with self._changed:
            self._waiting.append(line)
            self._changed.notify()

    def _run(self) -> None:
        closed = False
        while not closed:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._look or self._closed)
                closed = self._closed
                lines = list(self._waiting)
                self._waiting.clear()
                self._look = False
            try:
                self._round(lines)
            except Exception as error:  # a picture that cannot be encoded must not end the page
                self.trouble = f"{type(error).__name__}: {error}"
                if self._failed is not None:
                    self._failed(error)
            self._published()
            if not closed:
                time.sleep(_EVERY_S)

    def _round(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            self._number += 1
            self.lines.append((self._number, json_line(line).encode()))
        result = self._latest
        if result is not self._encoded and result is not None and result.picture is not None:
            self._encoded = result
            self.picture = (self.picture[0] + 1, self._encode(small(result.picture), quality=_QUALITY))
            self.trouble = ""


def small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return every n-th pixel of a picture that is larger than the page. A JPEG has at most 65,535 pixels per side."""
    height, width, _ = picture.shape
    step = max(-(-width // _WIDEST), -(-height // _TALLEST))
    return np.ascontiguousarray(picture[::step, ::step])
