"""The log of a run."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydrart.output import log as log_module
from hydrart.output.log import RotatingLog
from tests.support.commands import good, json_lines, run_json, sentence


def logged(path: Path) -> list[dict[str, Any]]:
    return json_lines(path.read_text())


def test_the_log_of_a_run_holds_all_of_it(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    frames, summary = run_json(
        "--source", "demo", "--weights", weights, "--max-frames", 8, "--fps", 1000, "--log", path
    )
    first, *lines, last = logged(path)
    run = first["run"]
    assert (run["source"], run["weights"], run["fps"]) == ("demo clip", str(weights), 1000)
    assert [line for line in lines if "frame" in line] == frames and last == {"summary": summary}
    assert [line["event"]["state"] for line in lines if "event" in line] == ["opening", "running", "ended"]
    assert "as it was" in good("replay", path, "--device", "generic").stdout, "a log can be replayed"
    good("run", "--source", "demo", "--weights", weights, "--max-frames", 2, "--log", path)
    assert len(logged(path)) == len(lines) + 2 + 7, "a second run goes on in the same file"


def test_the_log_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    log = RotatingLog(path, 0.001, {"run": 1}, pytest.fail)
    for i in range(1000):
        log.write({"frame": i})
    log.close()
    files = [path, *(tmp_path / f"run.jsonl.{i}" for i in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = []
    for file in reversed(files):
        first, *lines = logged(file)
        assert first == {"run": 1} and file.stat().st_size <= 1000
        numbers += [line["frame"] for line in lines]
    assert numbers == list(range(numbers[0], 1000)), "nothing is lost between two files"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_does_not_stop_the_run(small_disk: Path, weights: Path) -> None:
    filler, path = small_disk / "filler", small_disk / "run.jsonl"
    filler.write_bytes(b"x" * 56_000)
    args = ("--source", "demo", "--weights", weights, "--fps", 1000, "--max-frames", 100, "--log", path)
    result = good("run", "--json", *args)
    assert len(json_lines(result.stdout)) == 101, "the run is whole"
    told = [line for line in result.stderr.splitlines() if "run.jsonl" in line]
    assert told == [f"{path} cannot be written (No space left on device): the run goes on without its log"]
    lines = logged(path)
    assert 1 < len(lines) < 100, "what is there is there in whole lines"
    numbers = [line["frame"] for line in lines if "frame" in line]
    assert numbers == list(range(len(numbers)))


def test_the_log_goes_on_when_there_is_room_again(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_RETRY_S", 0.0)
    filler, path = small_disk / "filler", small_disk / "run.jsonl"
    filler.write_bytes(b"x" * 56_000)
    told: list[str] = []
    log = RotatingLog(path, 1, {"run": 1}, told.append)
    for i in range(1000):
        log.write({"frame": i})
    assert len(told) == 1
    filler.unlink()
    for i in range(1000, 1010):
        log.write({"frame": i})
    log.close()
    numbers = [line["frame"] for line in logged(path) if "frame" in line]
    assert numbers[-10:] == list(range(1000, 1010)) and numbers[:5] == list(range(5))
    missing = 1010 - len(numbers)
    assert told[1] == f"{path} is written again, {missing} lines are missing"


def test_a_log_that_cannot_be_opened_is_told_at_once(weights: Path, tmp_path: Path) -> None:
    assert "No such file" in sentence("run", "--source", "demo", "--weights", weights, "--log", tmp_path / "no" / "x")


def test_log_lines_are_json_whatever_the_label(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "x", 1, {}, pytest.fail)
    log.write({"label": 'a "b" \n ü \ud800'.encode("utf-8", "backslashreplace").decode()})
    log.close()
    assert json.loads((tmp_path / "x").read_text().splitlines()[1])["label"].startswith('a "b" \n ü')
    assert os.listdir(tmp_path) == ["x"]
