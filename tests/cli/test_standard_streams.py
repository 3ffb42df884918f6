"""Programs that are started with closed standard streams."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE_S, PROGRAM, json_lines


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, weights: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    args = ("run", "--source", "demo", "--weights", str(weights), "--max-frames", "3", "--json", "--log", str(log))
    command = f"{shlex.join([*PROGRAM, *args])} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    if ">&-" not in closed.replace("2>&-", ""):
        assert len(json_lines(done.stdout)) == 4
    lines = json_lines(log.read_text())
    assert len([line for line in lines if "frame" in line]) == 3 and "summary" in lines[-1], "nothing else got into it"


def test_an_error_with_nobody_to_read_it(tmp_path: Path) -> None:
    command = f"{shlex.join([*PROGRAM, 'classify', str(tmp_path / 'none.jpg')])} 2>&-"
    assert subprocess.run(["bash", "-c", command], capture_output=True, timeout=PATIENCE_S).returncode == 1
