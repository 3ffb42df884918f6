"""What a source gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shot:
    """What a source gives. picture: uint8 RGB [H, W, 3]; t_capture: time.monotonic() when the device had it, None
    where that is when the source gave it; stamp: the caller's own, passed through."""

    picture: NDArray[np.uint8]
    t_capture: float | None = None
    stamp: object = None
