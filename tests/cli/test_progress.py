"""cli/progress.py: what a training shows."""

import io
import re

import pytest

from hydrart.cli.options import progress_bar
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


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 50, 80])
def test_a_bar_fits_on_one_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with progress_bar("Training, loss 0.123", 100_000) as bar:
        for position in range(0, 100_000, 10_000):
            bar.update(10_000)
            assert position < bar.pos
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    drawn = [part for part in re.split(r"[\r\n]+", plain) if "Training" in part]
    assert len(drawn) > 3 and all(len(line) <= columns for line in drawn)
    assert any("#" in line for line in drawn)
