"""Programs whose standard streams are closed, full, or have no reader."""

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


def bash(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    "args", ["--help", "--version", "run -h", "service install --help", "devices", "info --json", "cameras -h"]
)
def test_a_full_disk_and_a_reader_that_leaves(args: str) -> None:
    command = f"{shlex.join(PROGRAM)} {args}"
    full = bash(f"{command} >/dev/full")
    assert full.returncode == 1
    assert full.stderr == "hydrart: the output cannot be read or written: No space left on device\n"
    left = bash(f"{command} | head -c0; exit ${{PIPESTATUS[0]}}")
    assert (left.returncode, left.stderr) == (0, "")


def test_messages_that_nobody_can_read(weights: Path) -> None:
    run = f"{shlex.join(PROGRAM)} run --source demo --weights {weights} --max-frames 3"
    done = bash(f"{run} 2>/dev/full")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, "the bar and the summary are for people"
    for args, code in (("run --no-such-option", 2), ("info no-such-file", 1), ("--help >/dev/full", 1)):
        done = bash(f"{shlex.join(PROGRAM)} {args} 2>/dev/full")
        assert (done.returncode, done.stdout) == (code, "")
