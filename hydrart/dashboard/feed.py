"""What the live page shows. The loop's thread hands in results; another thread encodes them once for all watchers."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.json_lines import json_line
from hydrart.readings import View, shown
from hydrart.stream.events import Event
from hydrart.stream.result import Result

_EVERY_S = 0.1  # seconds between two rounds of sending, at least
_WIDEST = 640  # pixels; larger pictures are thinned out
_QUALITY = 75
_LINES = 256  # by which a slow reader may lag
_HISTORY_S, _SWITCHES = 600, 200
_DRAWN = ("k", "age_ms", "deadline_ms")  # and the readings of a line


class Feed:
    """Thread-safe. published: called after each round of encoding, in the thread that encodes.

    picture: the latest JPEG and its number; lines: numbered JSON lines of results and events.
    """

    def __init__(self, published: Callable[[], None]) -> None:
        import simplejpeg

        self._encode = simplejpeg.encode_jpeg
        self._published = published
        self._changed = threading.Condition()
        self._watchers = 0
        self._closed = False
        self._latest: Result | None = None
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_LINES)
        self._points: deque[dict[str, Any]] = deque(maxlen=_HISTORY_S)
        self._switches: deque[dict[str, Any]] = deque(maxlen=_SWITCHES)
        self._last_k: int | None = None
        self.picture: tuple[int, bytes] = (0, b"")
        self.lines: deque[tuple[int, bytes]] = deque(maxlen=_LINES)
        self.result_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="hydrart-encode", daemon=True)
        self._thread.start()

    @property
    def latest(self) -> Result | None:
        """The last result."""
        return self._latest

    def result(self, result: Result, line: dict[str, Any]) -> None:
        """Keep a result and its JSON line."""
        self._latest, self.result_at = result, time.monotonic()
        if self._last_k not in (None, line["k"]):
            switch = {"t": line["t_wall"], "from": self._last_k, "to": line["k"], "reason": result.decision.why}
            self._switches.append(switch)
        self._last_k = line["k"]
        if not self._points or int(line["t_wall"]) != int(self._points[-1]["t"]):
            names = (*_DRAWN, *shown(View.LINE))
            self._points.append({"t": line["t_wall"], **{name: line[name] for name in names}})
        if self._watchers:
            self._wake(line | {"why": result.decision.why})

    def event(self, event: Event) -> None:
        """Pass on a change of state."""
        if self._watchers:
            self._wake({"event": event.as_dict()})

    def history(self) -> dict[str, Any]:
        """A point for each second of the last ten minutes, and the last switches of k."""
        return {"points": list(self._points), "switches": list(self._switches)}

    def watch(self, more: int) -> None:
        """Count so many more watchers (fewer, if negative). Without watchers nothing is encoded."""
        with self._changed:
            self._watchers += more

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _wake(self, line: dict[str, Any]) -> None:
        with self._changed:
            self._waiting.append(line)
            self._changed.notify()

    def _run(self) -> None:
        shown: Result | None = None
        number = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                lines = list(self._waiting)
                self._waiting.clear()
            for line in lines:
                number += 1
                self.lines.append((number, json_line(line).encode()))
            result = self._latest
            if result is not shown and result is not None and result.picture is not None:
                shown = result
                self.picture = (self.picture[0] + 1, self._encode(small(result.picture), quality=_QUALITY))
            self._published()
            time.sleep(_EVERY_S)


def small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th pixel of a picture that is wider than the page."""
    step = -(-picture.shape[1] // _WIDEST)
    return np.ascontiguousarray(picture[::step, ::step])
