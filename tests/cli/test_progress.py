"""cli/progress.py: what a training shows."""

import pytest

from hydrart.cli.progress import TrainingBar


def test_where_nobody_watches_a_line_a_minute_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with TrainingBar(100) as report:
        for position in range(1, 14):
            now[0] += 10
            report(position, position, 2.0)
    assert [line for line in capsys.readouterr().err.splitlines() if "left" in line] == [
        "step 7, loss 2.000, 18 minutes left"
    ]
