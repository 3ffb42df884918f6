"""The summary of a run, for people."""

from hydrart.output.summary import summary_text
from hydrart.stream.stats import Stats


def test_a_run_without_frames() -> None:
    stats = Stats(0.0)
    stats.skipped = 2
    assert summary_text(stats.summary(2.0)).splitlines() == [
        "0 frames in 2.0 s: 0.0 fps (source 0.0, dropped 0)",
        "2 pictures could not be read",
    ]


def test_a_run() -> None:
    times = {"p50": 1.0, "p95": 2.0, "max": 3.0}
    summary = Stats(0.0).summary(2.0) | {"frames": 30, "processed_fps": 15.0, "camera_fps": 30.0, "dropped": 30}
    summary |= {"mean_k": 7.25, "switches": 4, "miss_rate": 0.1, "age_ms": times, "infer_ms": times}
    assert summary_text(summary).splitlines() == [
        "30 frames in 2.0 s: 15.0 fps (source 30.0, dropped 30)",
        "mean k 7.2, 4 switches, late 10.0%",
        "inference: p50 1.0, p95 2.0, max 3.0 ms",
        "age at answer: p50 1.0, p95 2.0, max 3.0 ms",
    ]
