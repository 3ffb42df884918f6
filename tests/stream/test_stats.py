"""The summary of a run."""

import math

import numpy as np

import hydrart
from hydrart.prediction import Prediction
from hydrart.stream.result import Result
from hydrart.stream.stats import Stats


def made_up(i: int, k: int, age_ms: float, missed: bool) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), preprocess_ms=1.0, infer_ms=2.0)
    return Result(i, 0.0, 0.0, prediction, 3.0, age_ms, -1.0 if missed else None, 0, hydrart.Decision(k, "fixed"))


def test_stats_are_bounded_and_right() -> None:
    stats = Stats(start=100.0)
    for i in range(50_000):
        stats.seen += 1
        stats.add(made_up(i, 3 + i % 2, float(i % 100), i % 10 == 0))
    summary = stats.summary(now=200.0)
    assert summary["frames"] == 50_000 and summary["processed_fps"] == 500
    assert summary["miss_rate"] == 0.1 and summary["mean_k"] == 3.5 and summary["switches"] == 49_999
    assert summary["age_ms"] == {"p50": 49.5, "p95": 94.05, "max": 99.0}
    assert summary["infer_ms"] == {"p50": 2, "p95": 2, "max": 2} and summary["capture_ms"]["max"] == 3
    nothing = Stats(0.0).summary(0.0)
    assert not math.isnan(nothing["processed_fps"]) and nothing["infer_ms"] is None


def test_time_while_throttled_is_counted_where_a_sensor_tells() -> None:
    stats = Stats(start=0.0)
    stats.heat(1.0, None)
    assert stats.summary(now=1.0)["throttled_s"] is None
    for now, throttled in ((2.0, False), (3.0, True), (4.5, True), (5.0, None), (6.0, True), (9.0, False)):
        stats.heat(now, throttled)
    assert stats.summary(now=9.0)["throttled_s"] == 1.0 + 1.5 + 1.0, "each reading counts back to the one before"
