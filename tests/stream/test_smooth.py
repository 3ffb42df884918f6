"""Smoothing over frames."""

import numpy as np

import hydrart
from hydrart.prediction import Prediction
from hydrart.stream.smooth import Smoother


def test_smoothing_averages_probabilities(model: hydrart.Model) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8) for i in range(6)]
    with hydrart.Stream(pictures, model, smooth=3) as stream:
        smooth = [result.prediction.probabilities for result in stream]
    single = [model(picture).probabilities for picture in pictures]
    for i, probabilities in enumerate(smooth):
        np.testing.assert_allclose(probabilities, np.mean(single[max(0, i - 2) : i + 1], axis=0), atol=1e-6)


def test_smoothing_begins_anew_after_a_loss() -> None:
    smoother = Smoother(2)
    one, other = (Prediction(3, np.eye(2, dtype=np.float32)[i], ("a", "b"), 0, 0) for i in (0, 1))
    assert smoother(one).label == "a" and smoother(other).score == 0.5
    smoother.forget()
    assert smoother(other).score == 1
