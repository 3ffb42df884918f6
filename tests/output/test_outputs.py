"""What is printed of a run: all of it, changes only, nothing but errors."""

import subprocess
from itertools import pairwise
from pathlib import Path

from tests.support.commands import FRAME_KEYS, PATIENCE_S, PROGRAM, call, good, json_lines, run_json


def test_a_full_stdout_is_told(weights: Path) -> None:
    command = [*PROGRAM, "run", "--source", "demo", "--weights", str(weights), "--json"]
    with open("/dev/full", "w") as full:
        shown = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    assert shown.returncode == 1 and "No space left" in shown.stderr and "Traceback" not in shown.stderr


def test_only_changes_are_printed(weights: Path) -> None:
    args = ("--source", "demo", "--weights", weights, "--fps", 1000, "--max-frames", 60)
    every, _ = run_json(*args)
    shown = good("run", "--json", "--on-change", *args)
    *changes, last = json_lines(shown.stdout)
    labels = [frame["label"] for frame in changes]
    assert all(a != b for a, b in pairwise(labels)) and last["summary"]["frames"] == 60
    assert all(list(frame) == FRAME_KEYS.split() for frame in changes)
    assert len(changes) < len(every)
    plain = good("run", "--on-change", *args).stderr
    lines = [line for line in plain.splitlines() if " | " in line]
    assert all(a.split()[0] != b.split()[0] for a, b in pairwise(lines)) and lines


def test_quiet_says_nothing_but_errors(weights: Path, tmp_path: Path) -> None:
    shown = good("run", "--source", "demo", "--weights", weights, "--max-frames", 3, "--quiet", "--json")
    assert shown.stderr == "" and len(json_lines(shown.stdout)) == 4
    result = call("run", "--source", tmp_path / "none", "--weights", weights, "--quiet")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1


# what displays show
