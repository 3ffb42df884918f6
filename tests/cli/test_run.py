"""`hydrart run`: sources, pace, bounds, signals, pipes, terminals."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import hydrart
from hydrart.installation import install_command
from hydrart.stream.result import Result
from hydrart.stream.stream import Stream
from tests.support.commands import PATIENCE_S, PROGRAM, animation, good, json_lines, noise, run_json, sentence, video
from tests.support.commands import sensors as board
from tests.support.networks import CIFAR, SMALL
from tests.support.sources import ENDLESS, Camera


@pytest.mark.parametrize("kind", ["folder", "glob", "picture", "gif", "webp", "video", "demo"])
def test_run_answers_every_frame_of(kind: str, album: Path, weights: Path, tmp_path: Path) -> None:
    sources: dict[str, Callable[[], tuple[Path | str, int]]] = {
        "folder": lambda: (album, 5),
        "glob": lambda: (album / "[1-3].png", 3),
        "picture": lambda: (album / "4.png", 1),
        "gif": lambda: (animation(tmp_path / "x.gif"), 4),
        "webp": lambda: (animation(tmp_path / "x.webp"), 4),
        "video": lambda: (video(tmp_path / "x.avi"), 6),
        "demo": lambda: ("demo", 3),
    }
    source, count = sources[kind]()
    limit = ["--max-frames", 3] if kind == "demo" else []
    frames, summary = run_json("--source", source, "--weights", weights, *limit)
    assert [frame["frame"] for frame in frames] == list(range(count))
    assert summary["dropped"] == summary["skipped"] == 0 and summary["throttled_s"] is None
    for frame in frames:
        assert frame["label"] in CIFAR and frame["top"][0] == [frame["label"], frame["score"]]
        assert len(frame["top"]) == 5 and frame["k"] in SMALL.heads and frame["dropped"] == 0
        assert frame["temp_c"] is frame["battery"] is frame["power_w"] is None, "unknown is null"
        assert frame["age_ms"] > 0 and frame["infer_ms"] > 0 and frame["preprocess_ms"] > 0
        # a folder has no rate of its own
        assert (frame["deadline_ms"] is None) == (kind not in ("video", "demo"))
    captures = [frame["t_capture"] for frame in frames]
    assert captures == sorted(captures) and abs(frames[0]["t_wall"] - time.time()) < 3600
    for stage in ("capture_ms", "preprocess_ms", "infer_ms", "age_ms"):
        assert 0 <= summary[stage]["p50"] <= summary[stage]["p95"] <= summary[stage]["max"]
        assert abs(summary[stage]["max"] - max(frame[stage] for frame in frames)) < 0.01


def test_run_gives_the_model_s_answers(album: Path, weights: Path, model: hydrart.Model) -> None:
    frames, summary = run_json("--source", album, "--weights", weights, "--k", 6)
    assert {(frame["k"], frame["reason"]) for frame in frames} == {(6, "fixed")} and summary["mean_k"] == 6
    for i, frame in enumerate(frames):
        answer = model(album / f"{i}.png", 6)
        assert frame["label"] == answer.label and abs(frame["score"] - answer.score) < 1e-3


def test_run_as_text(album: Path, weights: Path) -> None:
    shown = good("run", "--source", album, "--weights", weights)
    lines = shown.stdout.splitlines()
    assert len(lines) == 5 and all(any(label in line for label in CIFAR) for line in lines), "stdout has the answers"
    assert "5 frames in " in shown.stderr and "inference: p50" in shown.stderr, "the rest is for people: stderr"
    assert str(album) in shown.stderr and any(label in shown.stderr for label in CIFAR)
    assert "\r" not in shown.stderr and "\x1b" not in shown.stderr, "this is no terminal"


def test_run_keeps_within_bounds(weights: Path) -> None:
    options = ("--min-k", 4, "--max-k", 6, "--max-frames", 8, "--fps", 30)
    frames, summary = run_json("--source", "demo", "--weights", weights, *options)
    ks = [frame["k"] for frame in frames]
    assert len(ks) == 8 and set(ks) <= {4, 5, 6}
    assert {frame["deadline_ms"] for frame in frames} == {33.333}
    assert summary["mean_k"] == sum(ks) / 8 and summary["switches"] == sum(a != b for a, b in pairwise(ks))
    assert summary["miss_rate"] == sum(frame["missed"] for frame in frames) / 8
    assert all(frame["missed"] == (frame["age_ms"] > frame["deadline_ms"]) for frame in frames)


def test_run_ends_after_a_time(weights: Path) -> None:
    frames, summary = run_json("--source", "demo", "--weights", weights, "--duration", 0.3)
    assert len(frames) < 100, "the demo has many more"
    assert summary["seconds"] >= 0.2


def test_run_ends_in_time_between_two_frames_too(album: Path, weights: Path) -> None:
    args = ("run", "--source", str(album), "--weights", str(weights), "--fps", "0.001", "--duration", "0.3", "--json")
    ended = subprocess.run([*PROGRAM, *args], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0 and "summary" in json_lines(ended.stdout)[-1]


def test_run_paces_files(album: Path, weights: Path) -> None:
    frames, _ = run_json("--source", album, "--weights", weights, "--fps", 10)
    assert len(frames) == 5, "none is dropped"
    assert frames[-1]["t_capture"] - frames[0]["t_capture"] > 0.2, "four tenths of a second at 10 fps"


@pytest.mark.parametrize("how", ["latest", "all"])
def test_run_drops_frames_only_if_told(how: str, album: Path, weights: Path) -> None:
    frames, summary = run_json("--source", album, "--weights", weights, "--frames", how)
    numbers = [frame["frame"] for frame in frames]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 4
    assert summary["dropped"] == sum(frame["dropped"] for frame in frames) == 5 - len(frames)
    if how == "all":
        assert numbers == [0, 1, 2, 3, 4]


def test_run_takes_the_demo_where_no_camera_is(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.source.opener.cameras", list)
    shown = good("run", "--weights", weights, "--max-frames", 2, "--json")
    assert len(json_lines(shown.stdout)) == 3
    assert "no camera is here: playing the demo clip" in shown.stderr


@pytest.mark.parametrize("args", [("--camera", 61), ("--source", "/dev/video61"), ("--source", "61")])
def test_run_without_that_camera(args: tuple[object, ...], weights: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    assert "there is no camera /dev/video61" in sentence("run", *args, "--weights", weights)


@pytest.mark.parametrize(("source", "module", "package"), [("x.mp4", "av", "PyAV"), ("-:2x2:yuv420p", "cv2", "OpenCV")])
def test_run_without_a_package(
    source: str, module: str, package: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.mp4").write_bytes(b"a video")
    monkeypatch.setitem(sys.modules, module, None)
    said = sentence("run", "--source", source, "--weights", weights)
    assert f"needs {package}: install it with: {install_command('video')}" in said


def test_run_starts_from_a_device_profile(album: Path, weights: Path, tmp_path: Path) -> None:
    profile = tmp_path / "slow.yaml"
    profile.write_text("latency_ms: {3: 0.000001, 12: 0.000001}\n")
    for device in ("generic", profile):
        frames, _ = run_json("--source", album, "--weights", weights, "--device", device)
        assert len(frames) == 5


@dataclass
class Seen:
    """What a stream chose and read."""

    stream: Stream
    results: list[Result] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """All streams that are made, by the command or by a program, with what each does."""
    seen: list[Seen] = []
    measured: list[int] = []
    init, iterate, answer = Stream.__init__, Stream.__iter__, hydrart.Model.__call__

    def made(stream: Stream, *args: Any, **settings: Any) -> None:
        measured.clear()
        init(stream, *args, **settings)
        seen.append(Seen(stream, measured=measured.copy()))

    def results(stream: Stream) -> Iterator[Result]:
        for result in iterate(stream):
            seen[-1].results.append(result)
            yield result

    def run(model: hydrart.Model, picture: Any, k: int | None = None) -> hydrart.Prediction:
        prediction: hydrart.Prediction = answer(model, picture, k)
        measured.append(prediction.k)
        return prediction

    monkeypatch.setattr(Stream, "__init__", made)
    monkeypatch.setattr(Stream, "__iter__", results)
    monkeypatch.setattr(hydrart.Model, "__call__", run)
    return seen


GOALS: list[dict[str, Any]] = [
    {},
    {"fps": 25.0},
    {"k": 6},
    {"min_k": 4, "max_k": 7, "fps": 100.0},
    {"max_temp_c": 60.0, "until_h": 2.0, "miss_price": 1.2},
    {"device": "raspberrypi4"},
]


@pytest.mark.parametrize("kind", ["demo", "folder", "video", "live"])
@pytest.mark.parametrize("goals", GOALS, ids=lambda goals: ",".join(goals) or "none")
def test_the_library_is_the_command(
    kind: str,
    goals: dict[str, Any],
    streams: list[Seen],
    album: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stream(source, model) has the deadline, the table of ks, the sensors and the warm-up of `hydrart run`."""
    sources: dict[str, str | Path] = {"demo": "demo", "folder": album, "live": "-:8x8:gray"}
    source = sources.get(kind) or video(tmp_path / "x.avi")
    if kind == "live":
        monkeypatch.setattr("hydrart.source.opener.RawSource", lambda *args: Camera(ENDLESS))
    board(tmp_path)
    defaults = hydrart.Sensors.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "root", tmp_path)  # the command has --sensor-root for this
    names = {"max_temp_c": "--max-temp", "until_h": "--until", "miss_price": "--miss-price"}
    names |= {"min_k": "--min-k", "max_k": "--max-k"}
    options = [text for name, value in goals.items() for text in (names.get(name, f"--{name}"), value)]
    paths = ("--source", source, "--weights", weights, "--sensor-root", tmp_path)
    frames, _ = run_json(*paths, "--max-frames", 3, "--threads", 1, *options)
    with Stream(source, hydrart.load(weights, threads=1), **goals) as stream:
        list(itertools.islice(stream, 3))
    command, library = streams
    assert command.stream.fps == library.stream.fps
    assert command.stream.answers_all == library.stream.answers_all == (kind != "live")
    assert len(frames) == len(library.results) == 3
    for line, result in zip(frames, library.results, strict=True):
        assert line["deadline_ms"] == result.as_dict()["deadline_ms"]
    deadline = {"demo": 1000 / 15, "folder": None, "video": 100.0, "live": 1000 / 15}[kind]
    expected = 1000 / goals["fps"] if "fps" in goals else deadline
    assert {result.deadline_ms for result in library.results} == {expected}
    tables = [seen.stream.governor.profile for seen in (command, library)]
    assert [replace(row, latency_ms=None) for row in tables[0].points] == [
        replace(row, latency_ms=None) for row in tables[1].points
    ]
    assert all(row.latency_ms for table in tables for row in table.points), "every k is measured first"
    assert replace(tables[0], points=()) == replace(tables[1], points=())
    assert command.measured == library.measured != []
    assert command.stream.governor.max_temp_c == library.stream.governor.max_temp_c
    bounds = range(goals.get("k") or goals.get("min_k", 3), (goals.get("k") or goals.get("max_k", 12)) + 1)
    for seen in (command, library):
        assert {result.prediction.k for result in seen.results} <= set(bounds)
    if kind != "folder":  # which may be over before a sensor is read
        last = [seen.results[-1].readings for seen in (command, library)]
        assert last[0].keys() == last[1].keys() and last[0]["temp_c"] == last[1]["temp_c"] == 51.2


# signals, pipes, terminals: these need a process of their own


def start(*args: object, **options: Any) -> "subprocess.Popen[bytes]":
    settings: dict[str, Any] = {"stderr": subprocess.PIPE} | options
    process: subprocess.Popen[bytes] = subprocess.Popen([*PROGRAM, *map(str, args)], **settings)
    return process


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_summary(sent: signal.Signals, weights: Path) -> None:
    args = ("run", "--source", "demo", "--loop", "--weights", weights, "--json")  # which would never end
    with start(*args, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(sent)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    *frames, last = json_lines(out.decode())
    assert list(last) == ["summary"]
    assert last["summary"]["frames"] - len(frames) in (1, 2), "one may be counted when the signal comes, but not shown"
    assert first["frame"] == 0 and b"Traceback" not in err


@pytest.mark.parametrize("command", ["run", "classify"])
def test_a_reader_that_leaves_is_no_error(command: str, album: Path, weights: Path) -> None:
    what = ("--source", "demo", "--fps", 1000) if command == "run" else [album] * 60
    with start(command, *what, "--weights", weights, "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        err = process.stderr.read().decode()
        process.wait(PATIENCE_S)
    assert not any(word in err for word in ("Traceback", "Error", "pipe", "Exception")), err
    assert process.returncode in (0, 1)
    if command == "run":
        assert process.returncode == 0


def on_terminal(*args: object, also_stdout: bool = False) -> list[str]:
    """The lines that a terminal gets, without the codes that move and colour; what a line is drawn over is gone."""
    import pty

    own, its = pty.openpty()
    stdout = its if also_stdout else subprocess.DEVNULL
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with start(*args, stdout=stdout, stderr=its, env=environment) as process:
        os.close(its)
        text, end = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if select.select([own], [], [], 1)[0]:
                try:
                    part = os.read(own, 65536)
                except OSError:  # what Linux says when the other side has closed
                    break
                text += part
        os.close(own)
    assert process.returncode == 0, text
    lines = text.decode().replace("\r\n", "\n").split("\n")
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.split("\r")[-1]) for line in lines]


def test_a_terminal_gets_a_panel_that_is_drawn_anew(weights: Path) -> None:
    shown = on_terminal("run", "--source", "demo", "--weights", weights, "--max-frames", 12)
    rows = [line.strip("│ ") for line in shown if line.startswith("│")]
    names = [row.split()[0] for row in rows if row[:1].isalpha()]
    panel = ["label", "k", "because", "last", "age", "fps", "temperature", "battery"]
    assert names == panel * (len(names) // len(panel)) and len(names) > len(panel), "it is drawn more than once"
    assert all(row.split()[1] in CIFAR for row in rows if row.startswith("label"))
    assert any("10 classes" in line for line in shown if line.startswith("╭")), "the source is its title"


def test_json_on_a_terminal_stays_json(weights: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 4, "--json")
    shown = on_terminal(*args, also_stdout=True)
    lines = [line for line in shown if "{" in line]
    assert len(json_lines("\n".join(lines))) == 5


def test_a_broken_picture_is_named_on_a_line_of_its_own(album: Path, weights: Path, tmp_path: Path) -> None:
    for i, name in enumerate(("a", "c")):
        Image.fromarray(noise(i)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    shown = on_terminal("run", "--source", tmp_path, "--weights", weights)
    assert [line.startswith("skipped: ") for line in shown if "b.png" in line] == [True]
