"""Invented sources."""

import itertools
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hydrart.source.shot import Shot
from tests.support.commands import PATIENCE_S

ENDLESS = itertools.repeat("frame")


def numbered(n: int) -> list[NDArray[np.uint8]]:
    """Return pictures of one grey each: the picture's number."""
    return [np.full((8, 8, 3), i, np.uint8) for i in range(n)]


class Camera:
    """A live source with a script. Each step gives a "frame", raises an exception, or waits for an event."""

    name, detail, live, skipped = "fake camera", "640x480", True, 0
    fps: float | None = None

    def __init__(self, script: Iterator[object]) -> None:
        self.closed = threading.Event()
        self._script = script

    def shots(self) -> Iterator[Shot]:
        for act in self._script:
            if isinstance(act, Exception):
                raise act
            if isinstance(act, threading.Event):
                act.wait(PATIENCE_S)
            elif self.closed.wait(0.002):
                return
            yield Shot(np.zeros((8, 8, 3), np.uint8))

    def close(self) -> None:
        self.closed.set()
