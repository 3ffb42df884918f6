"""hydrart on a real V4L2 device: the kernel's virtual camera, inside a virtual machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hydrart.json_lines import SCHEMA
from tests.support import vm
from tests.support.networks import CIFAR

pytestmark = pytest.mark.slow

PROGRAM = ("python3", "-c", "from hydrart.cli.main import main; main(prog_name='hydrart')")
# the kernels would compile for minutes in emulation, and this is about the camera
RUN = (*PROGRAM, "run", "--weights", "w.safetensors", "--backend", "reference")
CAMERA = "/dev/video0"
# vivid's colour bars from left to right
BARS = {
    "white": (1, 1, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "green": (0, 1, 0),
    "magenta": (1, 0, 1),
    "red": (1, 0, 0),
    "blue": (0, 0, 1),
    "black": (0, 0, 0),
}
# each frame as a JSON line, and the colours in the middle of its eight bars
COLOURS = """
import itertools, json, hydrart
model = hydrart.load("w.safetensors", backend="reference")
with hydrart.Stream("/dev/video0", model, fps=5, keep_frame=True) as stream:
    for result in itertools.islice(stream, 3):
        height, width, _ = result.picture.shape
        bars = [result.picture[height // 2, width * (2 * i + 1) // 16].tolist() for i in range(8)]
        print(json.dumps(result.as_dict() | {"bars": bars, "size": [width, height]}))
"""
# the counter in a corner changes with every frame: a picture that never does is a frozen camera
CONTROLS = "osd_text_mode=1,test_pattern=1"
LOAD = "modprobe vivid n_devs=1 node_types=0x1"
REPLUG = f"""
v4l2-ctl -d {CAMERA} -c disconnect=1
for i in $(seq 60); do rmmod vivid && break; sleep 1; done
sleep 3
{LOAD}
sleep 1; v4l2-ctl -d {CAMERA} -c {CONTROLS}
"""
JOBS = [
    vm.Job("no camera", (*RUN, "--camera", "0", "--json")),
    vm.Job("load", ("sh", "-c", f"{LOAD}; sleep 1; v4l2-ctl -d {CAMERA} -c {CONTROLS}")),
    vm.Job("colours", ("python3", "-c", COLOURS)),
    vm.Job("chosen", (*RUN, "--fps", "5", "--max-frames", "10", "--json")),
    vm.Job("missing", (*RUN, "--camera", "3")),
    vm.Job("interrupted", (*RUN, "--camera", "0", "--fps", "5", "--json"), after=5, then="kill -INT $PID"),
    vm.Job("cameras", (*PROGRAM, "cameras", "--json")),
    vm.Job(
        "replugged",
        (*RUN, "--camera", "0", "--fps", "5", "--json", "--max-frames", "40"),
        after=5,
        then=REPLUG,
    ),
    vm.Job(
        "disconnected",
        (*RUN, "--camera", "0", "--fps", "5", "--json", "--on-loss", "exit"),
        after=5,
        then=f"v4l2-ctl -d {CAMERA} -c disconnect=1",
    ),
]

Answers = dict[str, vm.Answer]


@pytest.fixture(scope="module")
def answers(machine: Path, share: Path) -> Answers:
    """What hydrart said to each of JOBS."""
    return vm.run(machine, share, JOBS, timeout_s=1800)


def lines(answer: vm.Answer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The frames and the summary of a run with --json."""
    *frames, last = map(json.loads, answer.stdout.splitlines())
    assert list(last) == ["summary", "schema"], answer
    assert all(line["schema"] == SCHEMA for line in (*frames, last))
    summary: dict[str, Any] = last["summary"]
    assert summary["frames"] == len(frames)
    assert summary["dropped"] == sum(frame["dropped"] for frame in frames)
    return frames, summary


def test_the_camera_is_there(answers: Answers) -> None:
    assert answers["load"].exit_code == 0, answers["load"].stderr


def test_frames_have_the_colours_of_the_camera(answers: Answers) -> None:
    answer = answers["colours"]
    assert answer.exit_code == 0, answer.stderr
    frames = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(frames) == 3
    for frame in frames:
        assert frame["size"] == [640, 480]
        for (name, expected), colour in zip(BARS.items(), frame["bars"], strict=True):
            assert all(abs(c - 255 * e) < 30 for c, e in zip(colour, expected, strict=True)), (name, colour)


def test_the_first_camera_is_chosen_and_gives_json_lines(answers: Answers) -> None:
    answer = answers["chosen"]
    assert answer.exit_code == 0, answer.stderr
    # which of its raw formats it is, OpenCV decides
    assert re.search(rf"the camera {CAMERA}, \w{{4}} 640x480.*; asked for MJPG 640x480", answer.stderr), answer.stderr
    frames, _ = lines(answer)
    assert len(frames) == 10
    numbers = [frame["frame"] for frame in frames]
    assert numbers == sorted(set(numbers))
    assert all(frame["label"] in CIFAR and 3 <= frame["k"] <= 12 for frame in frames)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("no camera", "there is no camera /dev/video0: no camera is connected; try --source demo"),
        ("missing", "there is no camera /dev/video3: cameras here: /dev/video0"),
    ],
)
def test_a_missing_camera_is_told(answers: Answers, job: str, sentence: str) -> None:
    answer = answers[job]
    assert answer.exit_code == 1 and answer.stdout == ""
    assert answer.stderr.splitlines()[-1] == f"hydrart: {sentence}"


def test_an_interrupt_ends_with_a_summary(answers: Answers) -> None:
    answer = answers["interrupted"]
    assert answer.exit_code == 0, answer.stderr
    assert len(lines(answer)[0]) >= 5


def test_a_disconnected_camera_ends_with_a_sentence_and_a_summary(answers: Answers) -> None:
    answer = answers["disconnected"]
    assert answer.exit_code == 1, answer
    assert len(lines(answer)[0]) >= 5
    sentence = "hydrart: the camera /dev/video0 gives no more frames: check its cable and supply"
    assert answer.stderr.splitlines()[-1] == sentence


def test_a_camera_that_is_plugged_in_again_goes_on(answers: Answers) -> None:
    answer = answers["replugged"]
    assert answer.exit_code == 0, answer
    frames, _ = lines(answer)
    numbers = [frame["frame"] for frame in frames]
    assert len(frames) == 40 and numbers == sorted(set(numbers))
    assert "reconnecting: the camera /dev/video0 gives no more frames" in answer.stderr
    assert re.search(r"running again: \w{4} 640x480", answer.stderr), answer.stderr


def test_the_kernel_tells_of_the_camera(answers: Answers) -> None:
    (camera,) = map(json.loads, answers["cameras"].stdout.splitlines())
    assert (camera["path"], camera["driver"], camera["readable"], camera["busy"]) == (CAMERA, "vivid", True, False)
    yuyv = next(form for form in camera["formats"] if form["pixels"] == "YUYV")
    assert any(size["width"] == 640 and size["height"] == 360 and size["fps"] for size in yuyv["sizes"])


def test_frames_are_as_old_as_the_driver_says(answers: Answers) -> None:
    """V4L2 stamps a frame before it is copied and converted."""
    for frame in lines(answers["chosen"])[0]:
        assert 0 < frame["capture_ms"] < 1000 and frame["age_ms"] > frame["capture_ms"]
