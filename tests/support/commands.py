"""Helpers of the tests that call commands, also with bad input."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from hydrart.cli.main import main
from hydrart.errors import HydrartError
from hydrart.format.architecture import Look
from hydrart.json_lines import SCHEMA
from tests.support.networks import SMALL

TINY = replace(SMALL, image_size=8, patch=4, depth=1, heads=(1, 2, 3))
TINY_LOOKS = (
    replace(TINY, heads=(1, 2), looks=(Look(1, 8), Look(2, 8)), fusion="tokens"),
    replace(TINY, heads=(1, 2), looks=(Look(1, 4), Look(2, 8)), fusion="grid"),
)

Make = Callable[..., Path]
Json = dict[str, Any]

no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


FRAME_KEYS = """frame t_capture t_wall k label score top capture_ms preprocess_ms infer_ms age_ms deadline_ms missed
    dropped temp_c battery power_w reason blind source_name"""
SUMMARY_KEYS = """seconds frames dropped skipped camera_fps processed_fps dropped_fps miss_rate mean_k switches
    throttled_s capture_ms preprocess_ms infer_ms age_ms"""
COMMANDS = (
    *("run", "classify", "eval", "info", "slice", "convert", "export", "train", "train-teacher"),
    *("devices", "cameras", "bench", "warmup", "simulate", "replay"),
)
PROGRAM = (sys.executable, "-c", "from hydrart.cli.main import main; main(prog_name='hydrart')")
PATIENCE_S = 120  # only a hang takes longer, even on a busy machine


def call(*args: object) -> Result:
    """Run a command in this process. Any exception other than an exit code fails the test."""
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
    """Run a command that must fail with exit code 1. The last line on stderr is the only sentence."""
    result = call(*args)
    assert result.exit_code == 1, result.output
    lines = result.stderr.splitlines()
    assert [line.startswith("hydrart: ") for line in lines] == [False] * (len(lines) - 1) + [True], result.stderr
    said = lines[-1].removeprefix("hydrart: ")
    assert said.isprintable() and 10 < len(said) < 600
    return said


def unsealed(line: str) -> dict[str, Any]:
    """Return a JSON line without its last field, the version."""
    entry = json.loads(line)
    assert list(entry)[-1] == "schema" and entry.pop("schema") == SCHEMA
    return dict(entry)


def json_lines(text: str) -> list[dict[str, Any]]:
    return [unsealed(line) for line in text.splitlines()]


def run_json(*args: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the frames and the summary of `hydrart run --json`."""
    *frames, last = json_lines(good("run", "--json", *args).stdout)
    assert list(last) == ["summary"]
    assert sorted(last["summary"]) == sorted(SUMMARY_KEYS.split())
    for frame in frames:
        assert list(frame) == FRAME_KEYS.split()
    assert last["summary"]["frames"] == len(frames)
    return frames, last["summary"]


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Deny the path to all users but root."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def told(error: pytest.ExceptionInfo[HydrartError]) -> str:
    """Return the message. It must be one printable line of limited length."""
    said = str(error.value)
    assert said.isprintable() and 10 < len(said) < 600, said[:700]
    return said


def animation(path: Path, frames: int = 4) -> Path:
    images = [Image.fromarray(noise(i)) for i in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=True)
    return path


def video(path: Path, frames: int = 6, fps: int = 10) -> Path:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 40 * i % 256, np.uint8))
    writer.release()
    return path


def class_tree(root: Path, answers: dict[int, str]) -> Path:
    """Make a folder per class. Picture i lies in the folder answers[i]."""
    for i, name in answers.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(i)).save(root / name / f"{i}.png")
    return root


def tree(root: Path, files: dict[str, object]) -> None:
    """Make files below a root folder, with these texts."""
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")


def sensors(root: Path) -> None:
    """A slightly throttled board at 51.2 C, with a half-empty battery."""
    battery, cpu = "sys/class/power_supply/BAT0", "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    tree(
        root,
        {
            "sys/class/thermal/thermal_zone0/type": "gpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 70000,
            "sys/class/thermal/thermal_zone1/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone1/temp": 51200,
            f"{battery}/type": "Battery",
            f"{battery}/status": "Discharging",
            f"{battery}/energy_now": 20_000_000,
            f"{battery}/energy_full": 40_000_000,
            f"{battery}/power_now": -6_000_000,
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50008",
            cpu: 1_500_000,
            "proc/stat": "cpu  100 0 50 1000 5 0 0 0 0 0",
        },
    )


def made(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(noise(seed)).save(path)
    return path
