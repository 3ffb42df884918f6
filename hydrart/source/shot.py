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
    """time.monotonic() when the device captured the picture; None: it counts as captured when the source gives it."""
    stamp: object = None
    """Any object of the caller's. The result has it, too."""
    file: str | None = None
    """Path of the file that the picture is from, where a source has several or it is a picture file; else None."""
