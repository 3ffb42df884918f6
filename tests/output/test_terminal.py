"""The plain line of a run. The panel is tested on a terminal, in tests/cli/test_run.py."""

import io

import numpy as np
import pytest

import hydrart
from hydrart.model import Prediction
from hydrart.output.terminal import PlainLine
from hydrart.stream.result import Result


def result(label: str, **facts: object) -> Result:
    prediction = Prediction(6, np.array([0.25, 0.75], np.float32), ("other", label), 1.0, 2.0)
    decision = hydrart.Decision(6, "deadline")
    return Result(0, 0.0, 0.0, prediction, 3.0, 12.34, 50.0, 2, decision, **facts)  # type: ignore[arg-type]


def test_a_line_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("hydrart.output.terminal.time.monotonic", lambda: clock[0])
    out = io.StringIO()
    line = PlainLine(12, stream=out)
    for _ in range(25):
        line.show(result("cat", readings={"temp_c": 61.04, "battery": 0.5}))
        clock[0] += 0.1
    shown = out.getvalue().splitlines()
    assert len(shown) == 3
    first = "cat 75% | k=6/12 (deadline) | 12.3 of 50 ms | - fps | dropped 2 | temperature 61.0 C | battery 50%"
    assert shown[0] == first
    assert shown[1].split(" | ")[3:5] == ["10.0 fps", "dropped 22"]


def test_a_line_a_change() -> None:
    out = io.StringIO()
    line = PlainLine(12, on_change=True, stream=out)
    for label in ("cat", "cat", "dog", "dog", "cat"):
        line.show(result(label))
    line.say("a message")
    assert [text.split()[0] for text in out.getvalue().splitlines()] == ["cat", "dog", "cat", "a"]
    assert "temperature" not in out.getvalue(), "what no sensor reads is left out"
