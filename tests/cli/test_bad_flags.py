"""Flags, sources, outputs and device profiles that make no sense: one sentence, never a traceback."""

import os
import random
import resource
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE_S, PROGRAM, call, good, made, sentence


@pytest.mark.parametrize(
    "args",
    [
        "nothing",
        "classify",
        "classify x.png --top 0",
        "classify x.png --k three",
        "classify x.png --precision fp16",
        "classify x.png --threads 0",
        "classify x.png --no-such-option",
        "eval",
        "eval a b",
        "eval a --batch 0",
        "info a b",
        "slice a",
        "slice a --heads 3",
        "slice a --heads 3-6 -o b",
        "devices a",
        "run somewhere",
        "run --camera 0 --source demo",
        "run --camera -1",
        "run --k 5 --min-k 3",
        "run --k 5 --max-k 7",
        "run --source demo --fps 0",
        "run --source demo --fps -1",
        "run --source demo --fps inf",
        "run --source demo --fps nan",
        "run --source demo --fps fast",
        "run --source demo --duration 0",
        "run --source demo --duration -1",
        "run --source demo --duration nan",
        "run --source demo --max-frames 0",
        "run --source demo --frames some",
    ],
)
def test_wrong_usage(args: str, weights: Path) -> None:
    command = args.split()[0]
    result = call(*args.split(), *["--weights", weights] * (command in ("classify", "eval", "run")))
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("Usage: ") and result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("classify {album} --k 2", "k=2 was not trained: choose from 3-12"),
        ("classify {album} --k -3", "choose from 3-12"),
        ("classify {album} --precision int8", "stores fp32, not int8"),
        ("classify {album} --backend cuda", "choose from native, reference, onnxruntime"),
        ("eval {album} --k 13", "choose from 3-12"),
        ("eval {album}", "class folders"),
        ("eval {album}/none", "is no folder"),
        ("eval {album}/0.png", "is no folder"),
        ("eval {album}/..", "none of the network's 10 classes"),
        ("run --source {album} --k 13", "choose from 3-12"),
        ("run --source {album} --min-k 13", "no trained k lies between"),
        ("run --source {album} --max-k 2", "no trained k lies between"),
        ("run --source {album} --min-k 8 --max-k 7", "no trained k lies between"),
        ("run --source {album} --backend cuda", "choose from native, reference, onnxruntime"),
        ("run --source {album} --device generik", "did you mean generic"),
        ("run --source {album} --device {album}", "cannot be read"),
        ("run --source {album} --device {album}/none.yaml", "cannot be read"),
        ("run --source {album} --device {long}", "x"),
        ("run --source {album}/none.mp4", "does not exist"),
        ("run --source {album}/none*", "no file matches"),
        ("run --source {long}", "x"),
        ("run --source rtsp://me:secret@127.0.0.1:1/1 --wait 0", "cannot be reached"),
    ],
)
def test_flags_that_cannot_be_met(args: str, words: str, weights: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    made(album / "0.png")
    names = {"album": album, "long": "x" * 300}
    assert words in sentence(*(arg.format(**names) for arg in args.split()), "--weights", weights)


def test_a_camera_number_beyond_all_numbers(weights: Path) -> None:
    result = call("run", "--source", "9" * 5000, "--weights", weights)
    assert result.exit_code == 1 and result.stderr.splitlines()[-1].startswith("hydrart: ")


def test_a_password_is_not_told(weights: Path) -> None:
    shown = call("run", "--source", "rtsp://me:secret@127.0.0.1:1/1", "--wait", 0, "--weights", weights)
    assert "secret" not in shown.output


@pytest.mark.parametrize("fps", ["1e-300", "1e-320", "1e-9"])
def test_rates_that_never_come(fps: str, weights: Path, tmp_path: Path) -> None:
    for i in range(2):
        made(tmp_path / f"{i}.png")
    result = call("run", "--source", tmp_path, "--weights", weights, "--fps", fps, "--duration", 0.2)
    assert result.exit_code in (0, 2)


@pytest.mark.parametrize("duration", ["inf", "1e300", "1e-300"])
def test_odd_durations(duration: str, weights: Path, tmp_path: Path) -> None:
    result = call("run", "--source", made(tmp_path / "x.png"), "--weights", weights, "--duration", duration)
    assert result.exit_code in (0, 2)


def test_ks_that_were_cut_off(weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    good("slice", weights, "--heads", 5, "-o", cut)
    picture = made(tmp_path / "x.png")
    good("classify", picture, "--weights", cut, "--k", 5)
    for args in (("classify", picture), ("eval", tmp_path), ("run", "--source", picture)):
        assert "k=6 was not trained: choose from 3-5" in sentence(*args, "--k", 6, "--weights", cut)
    assert "choose from 3-5" in sentence("slice", cut, "--heads", 6, "-o", tmp_path / "again.safetensors")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("in.safetensors", "is the input itself"),
        ("link", "is the input itself"),
        ("folder", "is a folder"),
        ("none/x.safetensors", "cannot be written"),
        ("in.safetensors/x", "cannot be written"),
        ("x" * 300, "x"),
        ("pipe", "pipe"),
    ],
)
def test_outputs_that_cannot_be_written(output: str, words: str, weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.safetensors"
    source.write_bytes(weights.read_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(source)
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    assert words in sentence("slice", source, "--heads", 3, "-o", tmp_path / output)
    assert source.read_bytes() == weights.read_bytes()
    assert (tmp_path / "pipe").is_fifo(), "a device would be replaced the same way"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["text", "nothing", "noise"])
def test_files_that_are_no_videos(kind: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = tmp_path / "x.mp4"
    path.write_bytes({"text": b"moving pictures", "nothing": b"", "noise": random.Random(2).randbytes(5000)}[kind])
    assert "neither a picture nor a video" in sentence("run", "--source", path, "--weights", weights)


def test_pictures_in_memory_are_no_camera(weights: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        made(Path(folder, "x.png"))
        for source in (folder, f"{folder}/x.png"):
            good("run", "--source", source, "--weights", weights)


# name -> words of the sentence
PROFILES = {
    "latency: {3: 4}": "did you mean latency_ms",
    "latency_ms: {3: -4}": "positive",
    "latency_ms: {3: .nan}": "positive",
    "latency_ms: {3: fast}": "positive",
    "latency_ms: {3: true}": "positive",
    f"latency_ms: {{3: 1{'0' * 400}}}": "latency_ms",
    f"latency_ms: {{3: {'9' * 5000}}}": "YAML",
    "latency_ms: {3.5: 4}": "whole numbers of heads",
    "latency_ms: {? [1] : 4}": "YAML",
    "latency_ms:": "must be a mapping",
    "power_w: {idle: -1}": "positive",
    "name: 5": "must be a text",
    '"a\\nb\\e[31m": 5': "unknown entry",
    "- 3": "is no mapping",
    "": "is no mapping",
    "{{": "YAML",
    "\t": "YAML",
    "a: *b": "YAML",
    "!!python/name:os.system": "YAML",
    "latency_ms: " + "[" * 1500: "YAML",
}


@pytest.mark.parametrize("text", PROFILES, ids=lambda text: text[:30])
def test_device_profiles_that_are_wrong(text: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    said = sentence("run", "--source", "demo", "--device", path, "--weights", weights)
    assert PROFILES[text] in said and str(path) in said


def test_a_device_profile_that_grows_without_bound(weights: Path, tmp_path: Path) -> None:
    """Each line names the one before ten times: a billion entries in 400 bytes."""
    lines = ["    - &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "x.yaml"
    path.write_text("latency_ms:\n  3:\n" + "\n".join(lines))

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    # in a process of its own: pytest itself would print the entries if this failed
    args = ("run", "--source", "demo", "--device", str(path), "--weights", str(weights))
    ended = subprocess.run(
        [*PROGRAM, *args], capture_output=True, text=True, timeout=PATIENCE_S, preexec_fn=little_memory, check=False
    )
    assert ended.returncode == 1 and "give a positive number" in ended.stderr.splitlines()[-1]


def test_a_device_profile_of_no_text(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00\xd8")
    assert str(path) in sentence("run", "--source", "demo", "--device", path, "--weights", weights)
