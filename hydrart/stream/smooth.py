"""Smooth labels with the mean of the last probabilities."""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hydrart.prediction import Prediction


class Smoother:
    """Average the probabilities of the last n predictions, or of fewer at the start. n=1 changes nothing."""

    def __init__(self, n: int) -> None:
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=n)

    def __call__(self, prediction: Prediction) -> Prediction:
        """Return the prediction with the mean probabilities."""
        if self._recent.maxlen == 1:
            return prediction
        self._recent.append(prediction.probabilities)
        return replace(prediction, probabilities=np.mean(np.stack(self._recent), axis=0, dtype=np.float32))

    def forget(self) -> None:
        """Start a new mean."""
        self._recent.clear()
