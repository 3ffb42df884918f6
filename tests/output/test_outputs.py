"""Where results go besides stdout: log, video, the plain line; smoothing, changes only, quiet."""

import json
import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.errors import SettingError
from hydrart.model import Prediction
from hydrart.output import log as log_module
from hydrart.output.history import History
from hydrart.output.log import RotatingLog
from hydrart.stream.result import Result
from hydrart.stream.smooth import Smoother
from tests.support.commands import FRAME_KEYS, PATIENCE_S, PROGRAM, call, good, json_lines, run_json, sentence

# the log


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


def test_a_full_stdout_is_told(weights: Path) -> None:
    command = [*PROGRAM, "run", "--source", "demo", "--weights", str(weights), "--json"]
    with open("/dev/full", "w") as full:
        shown = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    assert shown.returncode == 1 and "No space left" in shown.stderr and "Traceback" not in shown.stderr


# the video


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_video_holds_every_frame_with_its_label(suffix: str, weights: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = tmp_path / f"out.{suffix}"
    frames, _ = run_json(
        "--source", "demo", "--weights", weights, "--fps", 30, "--max-frames", 9, "--save-video", path, "--loop"
    )
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 30
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    capture.release()
    (clip,) = [shot.picture for shot in hydrart.Opener("demo").open().shots()][:1]
    assert len(pictures) == len(frames) == 9
    height, width, _ = pictures[0].shape
    assert (height, width) == (clip.shape[0] // 2 * 2, clip.shape[1] // 2 * 2)
    plain = clip[:height, :width, ::-1].astype(int)
    changed = abs(pictures[0] - plain)
    assert np.median(changed[: height // 2]) < 12, "the picture itself"
    assert (pictures[0][-25:, :60].max(axis=2) < 40).any() and (pictures[0][-25:, :200].min(axis=2) > 200).any(), "text"


@pytest.mark.parametrize(("name", "words"), [("x.txt", "end it with one of"), ("no/x.avi", "is no folder")])
def test_videos_that_cannot_be_written(name: str, words: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    args = ("run", "--source", "demo", "--weights", weights, "--save-video", tmp_path / name)
    assert words in sentence(*args)


# smoothing, changes, quiet


def test_smoothing_averages_probabilities(model: hydrart.Model) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8) for i in range(6)]
    with hydrart.Stream(pictures, model, smooth=3) as stream:
        smooth = [result.prediction.probabilities for result in stream]
    single = [model(picture).probabilities for picture in pictures]
    for i, probabilities in enumerate(smooth):
        np.testing.assert_allclose(probabilities, np.mean(single[max(0, i - 2) : i + 1], axis=0), atol=1e-6)
    with pytest.raises(SettingError, match="pass 1 or more"):
        hydrart.Stream(pictures, model, smooth=0)


def test_smoothing_begins_anew_after_a_loss() -> None:
    smoother = Smoother(2)
    one, other = (Prediction(3, np.eye(2, dtype=np.float32)[i], ("a", "b"), 0, 0) for i in (0, 1))
    assert smoother(one).label == "a" and smoother(other).score == 0.5
    smoother.forget()
    assert smoother(other).score == 1


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


def made_up(k: int, dropped: int) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), 1.0, 2.0)
    return Result(0, 0.0, 0.0, prediction, 3.0, 4.0, None, dropped, hydrart.Decision(k, "fixed"))


def test_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("hydrart.output.history.time.monotonic", lambda: clock[0])
    history = History()
    assert history.rates() == {"camera": None, "processed": None, "dropped": None}
    for i in range(100):
        history.add(made_up(3 + (i >= 50), dropped=2))
        clock[0] += 0.1
    assert list(history.ks) == [3] * 5 + [4] * 5 and history.dropped == 200
    rates = history.rates()
    assert rates == {name: pytest.approx(rate, rel=0.06) for name, rate in zip(rates, (30, 10, 20), strict=True)}
    clock[0] += 3
    history.add(made_up(9, 0))
    assert list(history.ks)[-4:] == [None, None, None, 9]
    clock[0] += 1e6
    history.add(made_up(5, 0))
    assert list(history.ks) == [None] * 59 + [5]


def test_log_lines_are_json_whatever_the_label(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "x", 1, {}, pytest.fail)
    log.write({"label": 'a "b" \n ü \ud800'.encode("utf-8", "backslashreplace").decode()})
    log.close()
    assert json.loads((tmp_path / "x").read_text().splitlines()[1])["label"].startswith('a "b" \n ü')
    assert os.listdir(tmp_path) == ["x"]
