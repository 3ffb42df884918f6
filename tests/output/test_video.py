"""The video of a run."""

import contextlib
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.errors import SourceError
from hydrart.output.video import VideoWriter, show_seen
from hydrart.picture.preprocess import Box
from hydrart.source.opener import Opener
from tests.support.commands import PATIENCE_S, PROGRAM, call, run_json, sentence
from tests.support.results import made_up


def pictures_of(path: Path) -> list[Any]:
    av = pytest.importorskip("av", reason="PyAV is not installed (extra: video)")
    pictures = []
    with open(path, "rb") as file, contextlib.suppress(av.FFmpegError), av.open(file) as container:
        for frame in container.decode(video=0):
            pictures.append(frame)
    return pictures


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
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


@pytest.mark.parametrize("name", [b"\xe9.mp4", b"2026-01-02T03:04:05.avi", b"a%03d?#.mkv"])
def test_names_that_c_libraries_take_for_something_else(name: bytes, weights: Path, tmp_path: Path) -> None:
    options = ("--source", "demo", "--fps", "30", "--max-frames", "3", "--save-video", os.fsdecode(name))
    command = [*PROGRAM, "run", *options, "--weights", str(weights)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 0, run.stderr
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    assert len(list(Opener(tmp_path / os.fsdecode(name)).open().shots())) == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told(weights: Path, tmp_path: Path) -> None:
    full = tmp_path / "x.avi"
    full.symlink_to("/dev/full")
    result = call("run", "--source", "demo", "--loop", "--fps", 1000, "--save-video", full, "--weights", weights)
    assert result.exit_code == 1 and "No space left on device" in result.stderr and not full.is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.txt", "end it with one of"),
        ("no/x.avi", "is no folder"),
        ("folder.avi", "it is a folder or a pipe"),
        ("pipe.mkv", "it is a folder or a pipe"),
    ],
)
def test_videos_that_cannot_be_written(name: str, words: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    (tmp_path / "folder.avi").mkdir()
    os.mkfifo(tmp_path / "pipe.mkv")
    args = ("run", "--source", "demo", "--weights", weights, "--save-video", tmp_path / name)
    assert words in sentence(*args)


def test_what_the_network_does_not_see_is_dark() -> None:
    picture = np.full((40, 90, 3), 200, np.uint8)
    show_seen(picture, Box(0.25, 0, 0.5, 1))
    assert (picture[:, :21] == 100).all() and (picture[:, 69:] == 100).all()
    assert (picture[:, 22:68] == 200).all() and (picture[:, [21, 68]] == 224).all()
    whole = np.full((40, 90, 3), 200, np.uint8)
    show_seen(whole, Box(0, 0, 1, 1))
    assert (whole == 200).all()


def test_a_writer_that_fails_in_any_way_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")

    def fail(*values: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(VideoWriter, "_encode", fail)
    said: list[str] = []
    writer = VideoWriter(tmp_path / "x.avi", 15, True, said.append, lambda height, width: Box(0, 0, 1, 1))
    with pytest.raises(SourceError, match="cannot be written: ZeroDivisionError: oops"):
        for _ in range(1000):
            writer.write(replace(made_up(3, 100.0), picture=np.zeros((8, 8, 3), np.uint8)))
    writer.close()


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_a_killed_run_leaves_a_video_that_plays(suffix: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: video)")
    path = tmp_path / f"out.{suffix}"
    args = ("run", "--source", "demo", "--loop", "--fps", "30", "--weights", str(weights), "--json")
    command = [*PROGRAM, *args, "--save-video", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in range(120):  # four seconds of video
            assert process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 30 <= len(pictures_of(path)) <= 120
