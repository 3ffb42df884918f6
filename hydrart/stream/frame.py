"""A picture on its way from a source to the network."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture with its stamps.

    - picture: uint8 RGB [H, W, 3].
    - number: counted from 0. Frames that nobody takes count, too.
    - t_capture, t_wall: time.monotonic() and time.time() when the picture was captured.
    - capture_ms: milliseconds that the source worked for the picture.
    - asleep_s: asleep_s() when the picture was captured.
    - prepared: the network's input, and the milliseconds that it took; None if the loop has to make it.
    - stamp: an object of the caller's.
    - t_ready: time.monotonic() when the frame was ready to be taken.
    - file: path of the picture's file; None if it has none.
    """

    picture: NDArray[np.uint8]
    number: int
    t_capture: float
    t_wall: float
    capture_ms: float
    asleep_s: float = 0.0
    prepared: tuple[NDArray[np.float32], float] | None = None
    stamp: object = None
    t_ready: float = 0.0
    file: str | None = None

    def due(self, t: float) -> "Frame":
        """The frame as one whose turn comes at t, in seconds of time.monotonic(): until then it does not age."""
        wait = t - self.t_capture
        return replace(self, t_capture=t, t_wall=self.t_wall + wait) if wait > 0 else self


def asleep_s() -> float:
    """Seconds that the machine was suspended since it booted. time.monotonic() does not count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
