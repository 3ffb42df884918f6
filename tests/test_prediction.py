"""The answer to one picture."""

import numpy as np
import pytest

from hydrart.prediction import Prediction, softmax


def test_the_most_probable_come_first() -> None:
    answer = Prediction(6, np.array([0.25, 0.5, 0.25], np.float32), ("cat", "dog", "ship"), 1.5, 2.0)
    assert (answer.label, answer.score, answer.latency_ms) == ("dog", 0.5, 3.5)
    assert answer.top(2) == [("dog", 0.5), ("cat", 0.25)], "equals keep their order"
    assert len(answer.top()) == 3 and answer.top(-1) == []
    assert (answer.look, answer.abandoned) == (0, ())
    assert repr(answer) == "Prediction('dog', score=0.500, k=6, latency_ms=3.50)"


@pytest.mark.parametrize("offset", [0, 1e4, -1e4, 3e38])
def test_softmax(offset: float) -> None:
    logits = np.array([[0.0, 1.0], [2.0, 2.0]], np.float32) + np.float32(offset)
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
    probabilities = softmax(logits)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
