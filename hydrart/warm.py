"""What is done once before the first answer: kernels compiled, every k run."""

import numpy as np

from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.preprocess import preprocess


def ready() -> None:
    """Load everything that is compiled, the engine's kernels and the preprocessing's, or compile it."""
    from hydrart.engine.kernels import forward

    forward.run.ready()
    preprocess(np.zeros((8, 8, 3), np.uint8), Preprocessing(8))
