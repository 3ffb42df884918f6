"""What a source gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture from a source.

    picture: uint8 RGB [H, W, 3]. t_capture: time.monotonic() when the device had it; None means when the source gave
    it. stamp: any object of the caller's; it comes back with the result.
    """

    picture: NDArray[np.uint8]
    t_capture: float | None = None
    stamp: object = None
