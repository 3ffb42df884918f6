"""A picture with its stamps, between the source and the network."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture with its stamps.

    - picture: uint8 RGB [H, W, 3].
    - number: counted from 0. Dropped frames count, too.
    - t_capture, t_wall: time.monotonic() and time.time() when the picture was captured.
    - capture_ms: the source's work for the picture, in milliseconds.
    - asleep_s: asleep_s() at the capture.
    - prepared: the network's input, and the milliseconds of its preprocessing; None if the loop makes it.
    - stamp: an object of the caller.
    - t_ready: time.monotonic() at which the frame was ready for the loop.
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
        """Return the frame as captured at t, in seconds of time.monotonic(). It does not age before t."""
        wait = t - self.t_capture
        return replace(self, t_capture=t, t_wall=self.t_wall + wait) if wait > 0 else self


def asleep_s() -> float:
    """Return the seconds of suspension since boot. time.monotonic() does not count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
