"""The log of a run."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hydrart.output import log as log_module
from hydrart.output.log import RotatingLog
from tests.support.commands import PATIENCE_S, PROGRAM, good, json_lines, made, run_json, sentence, video


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


# what is no regular file of the log's own


def filled(path: Path, told: list[str], lines: int = 100) -> None:
    """Write far more than the log may hold."""
    log = RotatingLog(path, 0.001, {"run": 1}, told.append)
    for i in range(lines):
        log.write({"frame": i})
    log.close()


def test_a_link_is_never_renamed(tmp_path: Path) -> None:
    target, link, told = tmp_path / "target", tmp_path / "link", list[str]()
    link.symlink_to(target)
    filled(link, told)
    assert sorted(os.listdir(tmp_path)) == ["link", "target"] and link.is_symlink()
    assert [line["frame"] for line in logged(target)[1:]] == list(range(100)), "nothing is lost"
    assert told == [f"{link} grows without limit, because only regular files are renamed: give another --log"]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_stands_in_the_way_stays(kind: str, tmp_path: Path) -> None:
    path, other, told = tmp_path / "log", tmp_path / "log.2", list[str]()
    if kind == "link":
        other.symlink_to("precious")
    elif kind == "folder":
        other.mkdir()
    else:
        os.mkfifo(other)
    before = os.lstat(other)
    filled(path, told)
    assert os.path.samestat(before, os.lstat(other)) and sorted(os.listdir(tmp_path)) == ["log", "log.2"]
    assert len(logged(path)) == 101 and len(told) == 1


def test_a_device_is_never_renamed(tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"x")
    except OSError:
        pytest.skip("devices cannot be made here")
    filled(null, [])
    assert stat.S_ISCHR(os.lstat(null).st_mode) and os.listdir(tmp_path) == ["null"]


def test_a_disk_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    try:
        os.mknod(disk, 0o600 | stat.S_IFBLK, os.makedev(7, 250))
    except OSError:
        pytest.skip("devices cannot be made here")
    with pytest.raises(OSError, match="it is a disk, name a file on it"):
        RotatingLog(disk, 1, {}, pytest.fail)


def test_stdout_is_never_renamed(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 40, "--fps", 1000, "--json")
    for log in ("/dev/stdout", out):
        command = [*PROGRAM, *map(str, args), "--log", str(log), "--log-mb", "0.01"]
        with open(out, "ab") as file:
            subprocess.run(command, stdout=file, check=True, timeout=PATIENCE_S, capture_output=False)
        assert os.listdir(tmp_path) == ["out"]
        assert len(json_lines(out.read_text())) > 80
        out.unlink()


def test_a_pipe_that_nobody_reads(weights: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = sentence("run", "--source", "demo", "--weights", weights, "--max-frames", 3, "--log", pipe)
    assert said == f"{pipe} cannot be read or written: nobody reads this pipe, start its reader first"


def test_a_pipe_whose_reader_is_slow_gets_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_RETRY_S", 0.0)
    pipe, told = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = RotatingLog(pipe, 1, {"run": 1}, told.append)
    text = b""
    for i in range(200):
        log.write({"frame": i, "filler": "x" * 5000})  # more than a pipe takes in one piece
        if i % 50 == 49:
            text += os.read(reader, 40_000)
    log.close()
    while part := os.read(reader, 1 << 20):
        text += part
    os.close(reader)
    *lines, rest = text.split(b"\n")
    numbers = [json.loads(line).get("frame") for line in lines]
    assert numbers[0] is None and numbers[1:] == sorted(set(numbers[1:])) and 10 < len(numbers) < 200
    assert told[0].startswith(f"{pipe} cannot be written (Resource temporarily unavailable)")
    assert len(rest) < 5100, "at most one line is cut, by the end"


def test_names_that_are_no_text(weights: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9")
    source, log = Path(f"{name}.png"), Path(f"{name}.jsonl")
    shutil.copy(made(tmp_path / "x.png"), source)
    frames, _ = run_json("--source", source, "--weights", weights, "--log", log)
    assert len(frames) == 1
    assert json.loads(log.read_bytes().decode("utf-8").splitlines()[0])["run"]["source"] == str(source)


# a log onto what the run reads


@pytest.mark.parametrize("option", ["--log", "--save-video"])
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_the_source_is_not_written(option: str, link: str | None, weights: Path, tmp_path: Path) -> None:
    clip = video(tmp_path / "clip.avi")
    before, target = clip.read_bytes(), tmp_path / "clip.avi"
    if link is not None:
        target = tmp_path / "other.avi"
        getattr(target, link)(clip)
    args = ("run", "--weights", weights, "--max-frames", 2, option, target)
    for source in (clip, f"{tmp_path}/cl*.avi", f"file://{clip}"):
        assert "is the input itself: give another name" in sentence(*args, "--source", source)
    assert clip.read_bytes() == before


def test_nothing_else_that_is_read_is_written(weights: Path, tmp_path: Path) -> None:
    own, profile = tmp_path / "own.safetensors", tmp_path / "board.yaml"
    own.write_bytes(weights.read_bytes())
    profile.write_text("latency_ms: {3: 1, 12: 2}\n")
    picture = made(tmp_path / "album" / "1.png")
    numbered = tmp_path / "run.jsonl.2"
    shutil.copy(picture, numbered)
    files = {file: file.read_bytes() for file in (own, profile, picture, numbered)}
    args = ("run", "--weights", own, "--device", profile, "--source", tmp_path / "album")
    for target in (own, profile, picture):
        assert "is the input itself" in sentence(*args, "--log", target)
    link = tmp_path / "album" / "2.png"
    link.symlink_to(numbered)
    said = sentence(*args, "--log", tmp_path / "run.jsonl")
    assert f"{numbered} is the input itself" in said, "the log would be renamed to it"
    assert {file: file.read_bytes() for file in files} == files
    address = tmp_path / "address"
    address.write_text(f"{tmp_path / 'album'}\n")
    for source in (("--source", f"@{address}"), (f"@{address}",)):
        assert "is the input itself" in sentence("run", *source, "--weights", own, "--log", address)
    assert address.read_text() == f"{tmp_path / 'album'}\n"
    both = tmp_path / "both.avi"
    assert "would be written twice" in sentence(*args, "--log", both, "--save-video", both)
