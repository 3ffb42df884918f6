"""A picture on its way from a source to the network."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """picture: uint8 RGB [H, W, 3]; number: counted from 0, also those that nobody takes; t_capture:
    time.monotonic() when it was there; t_wall: time.time() then; capture_ms: how long the source worked for it;
    asleep_s: see asleep_s(), then; prepared: the network's input, where it was made ahead, and the milliseconds that
    took; stamp: the caller's own; t_ready: time.monotonic() when it could be taken."""

    picture: NDArray[np.uint8]
    number: int
    t_capture: float
    t_wall: float
    capture_ms: float
    asleep_s: float = 0.0
    prepared: tuple[NDArray[np.float32], float] | None = None
    stamp: object = None
    t_ready: float = 0.0


def asleep_s() -> float:
    """Seconds that the machine was suspended since it booted: time that time.monotonic() does not count."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
