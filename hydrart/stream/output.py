"""What a person sees of a stream while it runs: one line that is rewritten, or a plain line a second."""

import contextlib
import shutil
import sys
import time
from typing import Any, TextIO

from hydrart.stream.result import Result

_EVERY_S = {True: 0.1, False: 1.0}  # terminal or not


class LiveLine:
    """Shows results on stderr.

    A terminal gets one line in place, at most ten times a second; anything else a line a second.
    """

    def __init__(self, largest_k: int, stream: TextIO | None = None) -> None:
        self._out = stream or sys.stderr
        self._terminal = self._out.isatty()
        self._largest_k = largest_k
        self._shown_at = 0.0
        self._dropped = 0
        self._times: list[float] = []
        self._last: Result | None = None

    def show(self, result: Result) -> None:
        """Take note of a result, and show it if it is time."""
        now = time.monotonic()
        self._dropped += result.dropped
        self._times = [t for t in self._times if now - t < 2] + [now]
        self._last = result
        if now - self._shown_at >= _EVERY_S[self._terminal]:
            self._shown_at = now
            self._write(self._line(result))

    def end(self) -> None:
        """Leave the last state on the screen and go to a new line."""
        if self._terminal and self._last:
            self._write(self._line(self._last))
            with contextlib.suppress(OSError):
                self._out.write("\n")
                self._out.flush()

    def _line(self, result: Result) -> str:
        answer = result.prediction
        span = self._times[-1] - self._times[0]
        fps = f"{(len(self._times) - 1) / span:.1f}" if span > 0 else "-"
        deadline = f" of {result.deadline_ms:.0f}" if result.deadline_ms else ""
        return (
            f"{answer.label} {answer.score:.0%} | k={answer.k}/{self._largest_k} ({result.decision.reason}) | "
            f"{result.age_ms:.1f}{deadline} ms | {fps} fps | dropped {self._dropped}"
        )

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody may be listening
            self._put(line)

    def _put(self, line: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"\r\x1b[K{line[:width]}")
        else:
            self._out.write(line + "\n")
        self._out.flush()


def summary_text(summary: dict[str, Any]) -> str:
    """The summary for people."""
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
