"""train/progress.py: a training that reports to nobody."""

import pytest

from hydrart.train.progress import SILENT, Progress


def test_silence_takes_every_call(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = SILENT
    with progress.stage("Reading", 3) as advance:
        advance(1)
    with progress.training(10) as step:
        step(1, 1, 0.5)
    progress.note("a sentence")
    assert capsys.readouterr() == ("", "")
