"""A frame on its way from a source to the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """picture: uint8 RGB [H, W, 3]; number: counted by the source from 0, also those that nobody takes; t_capture:
    time.monotonic() when it was there; t_wall: time.time() then; capture_ms: how long the source worked for it."""

    picture: NDArray[np.uint8]
    number: int
    t_capture: float
    t_wall: float
    capture_ms: float
