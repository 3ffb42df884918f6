"""The command line: what each command prints and where, how it ends, what happens on signals, pipes and terminals."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import CIFAR, SMALL
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

import hydrart
from hydrart.cli.main import main
from hydrart.weightfile import WeightFile

FRAME_KEYS = """frame t_capture t_wall k label score top capture_ms preprocess_ms infer_ms age_ms deadline_ms missed
    dropped temp_c battery power_w reason"""
SUMMARY_KEYS = """seconds frames dropped skipped camera_fps processed_fps dropped_fps miss_rate mean_k switches
    throttled_s capture_ms preprocess_ms infer_ms age_ms"""
COMMANDS = ("run", "classify", "eval", "info", "slice", "devices")
PROGRAM = (sys.executable, "-c", "from hydrart.cli.main import main; main(prog_name='hydrart')")
PATIENCE_S = 120  # only a hang takes so long, on however busy a machine

Make = Callable[..., Path]


def call(*args: object) -> Result:
    """Run a command in this process. Whatever it raises but an exit code fails the test."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    return result


def good(*args: object) -> Result:
    """Run a command that must succeed."""
    result = call(*args)
    assert result.exit_code == 0, result.stderr
    return result


def sentence(*args: object) -> str:
    """Run a command that must fail: exit code 1, and the last line on stderr is the one and only sentence."""
    result = call(*args)
    assert result.exit_code == 1, result.output
    lines = result.stderr.splitlines()
    assert [line.startswith("hydrart: ") for line in lines] == [False] * (len(lines) - 1) + [True], result.stderr
    said = lines[-1].removeprefix("hydrart: ")
    assert said.isprintable() and 10 < len(said) < 600
    return said


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def run_json(*args: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What `hydrart run --json` prints: frames and summary."""
    *frames, last = json_lines(good("run", "--json", *args).stdout)
    assert list(last) == ["summary"]
    assert sorted(last["summary"]) == sorted(SUMMARY_KEYS.split())
    for frame in frames:
        assert list(frame) == FRAME_KEYS.split()
    assert last["summary"]["frames"] == len(frames)
    return frames, last["summary"]


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture(autouse=True)
def blas() -> Iterator[None]:
    """Put back the size of the BLAS pool, which every command caps."""
    with threadpool_limits():
        yield


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five different pictures."""
    folder = tmp_path_factory.mktemp("album")
    for i in range(5):
        Image.fromarray(noise(i)).save(folder / f"{i}.png")
    return folder


def animation(path: Path, frames: int = 4) -> Path:
    images = [Image.fromarray(noise(i)) for i in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=True)
    return path


def video(path: Path, frames: int = 6, fps: int = 10) -> Path:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    return path


def class_tree(root: Path, answers: dict[int, str]) -> Path:
    """A folder per class; picture i lies in the folder answers[i]."""
    for i, name in answers.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(i)).save(root / name / f"{i}.png")
    return root


# help and version


def test_version() -> None:
    assert good("--version").stdout.endswith(f" {hydrart.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_every_command(command: str, option: str) -> None:
    shown = good(command, option)
    assert shown.stdout.startswith("Usage:") and "--json" in shown.stdout and not shown.stderr
    assert command in good(option).stdout


def test_no_command_is_wrong_usage_and_shows_the_commands() -> None:
    result = call()
    assert result.exit_code == 2 and not result.stdout
    assert all(command in result.stderr for command in COMMANDS)


# info, devices, slice


def test_info_as_text(weights: Path) -> None:
    shown = good("info", weights)
    assert not shown.stderr
    lines = shown.stdout.splitlines()
    assert str(weights) in lines[0] and "fp32" in lines[0] and "3-12" in lines[0]
    rows = [line.split() for line in lines if line.strip()[:2].strip().isdigit()]
    assert [int(row[0]) for row in rows] == list(SMALL.heads)
    assert hydrart.__version__ in shown.stdout


def test_info_as_json(weights: Path) -> None:
    (report,) = json_lines(good("info", weights, "--json").stdout)
    file = WeightFile(weights)
    assert report["path"] == str(weights) and report["precision"] == "fp32" and report["labels"] == list(CIFAR)
    assert report["architecture"] == {**vars(SMALL), "heads": list(SMALL.heads)}
    assert report["accuracy"] is None and report["verified"] is False
    assert [row["k"] for row in report["networks"]] == list(SMALL.heads)
    for row in report["networks"]:
        state = file.state(row["k"])
        assert row["parameters"] == sum(state[name].size for name in state)
        assert row["bytes"] == file.end(row["k"]) and row["top1"] is None
    assert report["here"]["backend"] == "reference" and report["here"]["threads"] == 1


def test_info_verifies_checksums(weights: Path, tmp_path: Path) -> None:
    assert "every checksum is right" in good("info", weights, "--verify").stdout
    assert json.loads(good("info", weights, "--verify", "--json").stdout)["verified"] is True
    damaged = tmp_path / "x.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    assert "checksum" in sentence("info", damaged, "--verify")
    good("info", damaged)


def test_devices() -> None:
    shown = good("devices")
    assert any(line.startswith("generic ") for line in shown.stdout.splitlines()) and not shown.stderr
    listed = json_lines(good("devices", "--json").stdout)
    assert len(listed) == len(shown.stdout.splitlines())
    for device in listed:
        assert list(device) == ["name", "description", "latency_ms", "power_w", "idle_w"]


@pytest.mark.parametrize("as_json", [False, True])
def test_slice(as_json: bool, weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "cut.safetensors"
    shown = good("slice", weights, "--heads", 5, "-o", output, *["--json"] * as_json).stdout
    cut, whole = WeightFile(output), WeightFile(weights)
    assert cut.heads == (3, 4, 5) and bytes(cut.data) == bytes(whole.data[: whole.end(5)])
    assert [path.name for path in tmp_path.iterdir()] == ["cut.safetensors"], "nothing else is left"
    if as_json:
        size = output.stat().st_size
        assert json.loads(shown) == {"output": str(output), "heads": [3, 4, 5], "bytes": size}
    else:
        assert str(output) in shown and len(shown.splitlines()) == 1


# classify


def test_classify_as_text(album: Path, weights: Path, model: hydrart.Model) -> None:
    shown = good("classify", album, "--weights", weights)
    lines = shown.stdout.splitlines()
    assert len(lines) == 5 and not shown.stderr
    for i, line in enumerate(lines):
        path, _, classes = line.partition(": ")
        assert path == str(album / f"{i}.png") and len(classes.split(", ")) == 3
        assert classes.startswith(model(path).label)


@pytest.mark.parametrize("k", [None, 3, 7])
@pytest.mark.parametrize("top", [1, 4, 99])
def test_classify_as_json_gives_the_model_s_answers(
    k: int | None, top: int, album: Path, weights: Path, model: hydrart.Model
) -> None:
    options = ["--k", k] if k else []
    shown = good("classify", album / "2.png", "--weights", weights, "--json", "--top", top, *options)
    (line,) = json_lines(shown.stdout)
    assert list(line) == ["picture", "k", "label", "score", "top", "preprocess_ms", "infer_ms"]
    answer = model(album / "2.png", k)
    assert (line["picture"], line["k"], line["label"]) == (str(album / "2.png"), k or 12, answer.label)
    assert len(line["top"]) == min(top, 10) and line["top"][0] == [line["label"], line["score"]]
    assert [label for label, _ in line["top"]] == [label for label, _ in answer.top(top)]
    assert abs(line["score"] - answer.score) < 1e-4 and line["infer_ms"] > 0


def test_classify_takes_files_folders_and_globs(album: Path, weights: Path) -> None:
    pictures = (album / "3.png", album / "[0-2].png", album)
    lines = json_lines(good("classify", *pictures, "--weights", weights, "--json").stdout)
    assert [Path(line["picture"]).stem for line in lines] == list("3" + "012" + "01234")


# eval


def test_eval(weights: Path, model: hydrart.Model, tmp_path: Path) -> None:
    # with k = 12 each picture lies in the right folder but one
    labels = {i: model(noise(i)).label for i in range(8)}
    labels[7] = next(label for label in CIFAR if label != labels[7])
    tree = class_tree(tmp_path / "tree", labels)
    shown = good("eval", tree, "--weights", weights, "--json", "--k", 3, "--k", 12)
    (report,) = json_lines(shown.stdout)
    assert report["folder"] == str(tree) and report["pictures"] == 8 and report["skipped"] == 0
    assert report["precision"] == "fp32" and report["backend"] == "reference"
    small, large = report["results"]
    assert (small["k"], large["k"]) == (3, 12) and large["top1"] == 7 / 8
    assert small["top1"] == sum(model(noise(i), 3).label == labels[i] for i in range(8)) / 8
    top5 = sum(labels[i] in dict(model(noise(i)).top(5)) for i in range(8)) / 8
    assert large["top5"] == top5 and large["pictures_per_s"] > 0
    (other,) = json_lines(good("eval", tree, "--weights", weights, "--json", "--k", 12, "--batch", 3).stdout)
    assert other["results"][0]["top1"] == large["top1"]


def test_eval_as_text(weights: Path, tmp_path: Path) -> None:
    tree = class_tree(tmp_path / "tree", {0: "cat", 1: "DOG"})
    shown = good("eval", tree, "--weights", weights)
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("2 pictures") and lines[1].split()[:3] == ["k", "top-1", "top-5"]
    assert [int(line.split()[0]) for line in lines[2:]] == list(SMALL.heads)
    assert "Evaluating" in shown.stderr


def test_eval_takes_folders_in_the_order_of_the_classes(make_weights: Make, tmp_path: Path) -> None:
    path = make_weights(replace(SMALL, classes=12))
    answer = hydrart.load(path)(noise(0)).label
    names = [f"class-{i:02}" for i in range(12)]
    for name in names:
        (tmp_path / "tree" / name).mkdir(parents=True)
    class_tree(tmp_path / "tree", {0: f"class-{answer.removeprefix('class ')}"})
    (report,) = json_lines(good("eval", tmp_path / "tree", "--weights", path, "--json", "--k", 12).stdout)
    assert report["results"][0]["top1"] == 1


def test_eval_reads_numbers_of_classes_as_numbers(make_weights: Make, tmp_path: Path) -> None:
    """10 sorts before 2 as text: a wrong accuracy that nobody would notice."""
    path = make_weights(replace(SMALL, classes=12))
    model = hydrart.load(path)
    for i in range(12):
        (tmp_path / "tree" / str(i)).mkdir(parents=True)
    numbers = {i: str(int(model(noise(i)).label.removeprefix("class "))) for i in range(6)}
    assert any(int(number) >= 2 for number in numbers.values()), "the order matters for these"
    class_tree(tmp_path / "tree", numbers)
    (report,) = json_lines(good("eval", tmp_path / "tree", "--weights", path, "--json", "--k", 12).stdout)
    assert report["results"][0]["top1"] == 1


def test_eval_does_not_guess_where_one_label_is_misspelt(weights: Path, tmp_path: Path) -> None:
    names = ["aeroplane", *CIFAR[1:]]
    tree = class_tree(tmp_path / "tree", dict(enumerate(names)))
    assert "aeroplane" in sentence("eval", tree, "--weights", weights)


# run


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
    assert shown.stdout.startswith("5 frames in ") and "inference: p50" in shown.stdout
    assert not any(label in shown.stdout for label in CIFAR), "what goes by is for people: stderr"
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
    monkeypatch.setattr("hydrart.stream.source.cameras", list)
    shown = good("run", "--weights", weights, "--max-frames", 2, "--json")
    assert len(json_lines(shown.stdout)) == 3
    assert "no camera is here: playing the demo clip" in shown.stderr


@pytest.mark.parametrize("args", [("--camera", 61), ("--source", "/dev/video61"), ("--source", "61")])
def test_run_without_that_camera(args: tuple[object, ...], weights: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    assert "there is no camera /dev/video61" in sentence("run", *args, "--weights", weights)


def test_run_without_opencv(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"a video")
    monkeypatch.setitem(sys.modules, "cv2", None)
    said = sentence("run", "--source", path, "--weights", weights)
    assert "needs OpenCV" in said and "pip install 'hydrart[video]'" in said


def test_run_starts_from_a_device_profile(album: Path, weights: Path, tmp_path: Path) -> None:
    profile = tmp_path / "slow.yaml"
    profile.write_text("latency_ms: {3: 0.000001, 12: 0.000001}\n")
    for device in ("generic", profile):
        frames, _ = run_json("--source", album, "--weights", weights, "--device", device)
        assert len(frames) == 5


# signals, pipes, terminals: these need a process of their own


def start(*args: object, **options: Any) -> "subprocess.Popen[bytes]":
    settings: dict[str, Any] = {"stderr": subprocess.PIPE} | options
    process: subprocess.Popen[bytes] = subprocess.Popen([*PROGRAM, *map(str, args)], **settings)
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_summary(sent: signal.Signals, weights: Path) -> None:
    with start("run", "--source", "demo", "--weights", weights, "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(sent)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    *frames, last = json_lines(out.decode())
    assert list(last) == ["summary"] and last["summary"]["frames"] == len(frames) + 1
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
    """The lines that a terminal shows in the end: what a carriage return goes back over is gone."""
    import pty

    own, its = pty.openpty()
    stdout = its if also_stdout else subprocess.DEVNULL
    with start(*args, stdout=stdout, stderr=its) as process:
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
    return [line.split("\r")[-1].removeprefix("\x1b[K") for line in lines]


def test_a_terminal_gets_one_line_that_is_rewritten(weights: Path) -> None:
    shown = on_terminal("run", "--source", "demo", "--weights", weights, "--max-frames", 12)
    live = [line for line in shown if "dropped" in line]
    assert len(live) == 1 and any(label in live[0] for label in CIFAR)
    assert shown[-1] == "" and len(shown) <= 5


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
