"""Prediction: the answer to one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hydrart.format.precision import FloatArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one picture."""

    k: int
    """The number of heads that gave the answer."""
    probabilities: FloatArray
    """The probability of each class: float32 [classes], each 0 to 1. Their sum is 1."""
    labels: Sequence[str]
    """The name of each class."""
    preprocess_ms: float
    """Milliseconds that the preprocessing took."""
    infer_ms: float
    """Milliseconds that the network took."""
    look: int = 0
    """The number of the look that gave the answer. The first is 0."""
    abandoned: tuple[int, ...] = ()
    """The ks of the looks that were not ready by the deadline, or never began."""

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, score={self.score:.3f}, k={self.k}, latency_ms={self.latency_ms:.2f})"

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def score(self) -> float:
        """The probability of the label, 0 to 1."""
        return float(self.probabilities.max())

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the picture to the answer: preprocess_ms and infer_ms."""
        return self.preprocess_ms + self.infer_ms

    def top(self, n: int = 5) -> list[tuple[str, float]]:
        """The n most probable classes with their probabilities, the most probable first."""
        best = np.argsort(-self.probabilities, kind="stable")[: max(0, n)]
        return [(self.labels[i], float(self.probabilities[i])) for i in best]


def softmax(logits: FloatArray) -> FloatArray:
    """Turn logits into probabilities, float32 of the same shape, over the last axis."""
    with np.errstate(over="ignore"):
        exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=-1, keepdims=True), np.float32)
