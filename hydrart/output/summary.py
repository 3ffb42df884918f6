"""The summary of a run, for people."""

from typing import Any


def summary_text(summary: dict[str, Any]) -> str:
    """Write the summary of a run as text."""
    lines = [
        f"{summary['frames']} frames in {summary['seconds']:.1f} s: {summary['processed_fps']:.1f} fps "
        f"(source {summary['camera_fps']:.1f}, dropped {summary['dropped']})"
    ]
    if summary["skipped"]:
        lines.append(f"{summary['skipped']} pictures could not be read")
    if summary["frames"]:
        lines.append(f"mean k {summary['mean_k']:.1f}, {summary['switches']} switches, late {summary['miss_rate']:.1%}")
    for stage, what in (("preprocess_ms", "preprocess"), ("infer_ms", "inference"), ("age_ms", "age at answer")):
        times = summary[stage]
        if isinstance(times, dict):
            lines.append(f"{what}: p50 {times['p50']:.1f}, p95 {times['p95']:.1f}, max {times['max']:.1f} ms")
    return "\n".join(lines)
