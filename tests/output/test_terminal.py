"""The plain line of a run. The panel is tested on a terminal, in tests/cli/test_run.py."""

import io

import numpy as np
import pytest

import hydrart
from hydrart.governor.governor import Decision
from hydrart.output.terminal import LivePanel, PlainLine
from hydrart.prediction import Prediction
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
    first = "cat 75% | k=6/12 (deadline) | age 12.3 of 50 ms | - fps | dropped 2 | temperature 61.0 C | battery 50%"
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


@pytest.mark.parametrize("width", [40, 60, 120])
def test_the_panel_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    panel = LivePanel(12, "a title that is longer than forty columns, 15 fps, 10 classes", out)
    shown = result("a very long name of a class, which nobody would give", blind=("max_temp_c",))
    for k in range(60):
        panel._history.ks.append(k % 13)
    panel.show(shown)
    panel.end()
    lines = out.getvalue().splitlines()
    assert lines and all(len(line) <= width for line in lines)
    words = " ".join(line.strip("│ ") for line in lines)
    joined = " ".join(words.split())
    assert "12.3 ms, deadline 50 ms" in joined and "6 of 12" in joined and "75%" in joined
    assert "unknown, so that its goal cannot act" in joined.replace("temperature ", ""), joined
    assert joined.count("cannot act") == 1, "the battery's goal is not set"


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (Decision(6, "deadline", signal=70.12, bound=66.7),
         "deadline: the next better k needs up to 70.1 of 66.7 ms"),
        (Decision(12, "accuracy", signal=4.3, bound=66.7), "accuracy: it needs up to 4.3 of 66.7 ms"),
        (Decision(3, "overload", signal=80, bound=66.7), "overload: the smallest k needs 80.0 of 66.7 ms"),
        (Decision(3, "heat", signal=61, bound=60), "heat: 61.0 C, to stay below 60.0 C"),
        (Decision(3, "battery", signal=5.1, bound=4.2), "battery: the next better k draws 5.1 of 4.2 W"),
        (Decision(3, "fixed"), "fixed"),
    ],
)  # fmt: skip
def test_the_reason_says_what_its_numbers_are(decision: Decision, why: str) -> None:
    assert decision.why == why
