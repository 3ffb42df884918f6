"""One picture from a source."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture from a source."""

    picture: NDArray[np.uint8]
    """uint8 RGB [H, W, 3]."""
    t_capture: float | None = None
    """time.monotonic() at the capture. None: the time at which the source gives the picture counts."""
    stamp: object = None
    """Any object of the caller. The result carries it, too."""
    file: str | None = None
    """Path of the picture's file, if that is a picture file or one of several files; else None."""
