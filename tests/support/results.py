"""Invented results, without a network."""

import numpy as np

import hydrart
from hydrart.prediction import Prediction
from hydrart.stream.result import Result


def made_up(k: int, t_wall: float) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), 1.0, 2.0)
    return Result(0, 0.0, t_wall, prediction, 3.0, 4.0, None, 0, hydrart.Decision(k, "deadline"), {"temp_c": 50.0})
