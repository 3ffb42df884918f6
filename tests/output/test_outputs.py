"""What is printed of a run: all of it, changes only, nothing but errors."""

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from hydrart.output.outputs import Outputs
from hydrart.stream.events import Event
from tests.support.commands import FRAME_KEYS, PATIENCE_S, PROGRAM, TINY, call, good, json_lines, made, run_json


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
    shown_too = good("run", "--on-change", *args)
    assert len(shown_too.stdout.splitlines()) < len(every)
    plain = shown_too.stderr
    lines = [line for line in plain.splitlines() if " | " in line]
    assert all(a.split()[0] != b.split()[0] for a, b in pairwise(lines)) and lines


def test_quiet_says_nothing_but_errors(weights: Path, tmp_path: Path) -> None:
    shown = good("run", "--source", "demo", "--weights", weights, "--max-frames", 3, "--quiet", "--json")
    assert shown.stderr == "" and len(json_lines(shown.stdout)) == 4
    result = call("run", "--source", tmp_path / "none", "--weights", weights, "--quiet")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1


def test_a_loss_that_stays_the_same_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A camera that is lost for a day would fill the journal."""
    absent, busy = "there is no camera; next try in 30 s", "the camera is in use; next try in 30 s"
    told = [("stalled", "no frame"), *[("reconnecting", absent)] * 3, *[("reconnecting", busy)] * 2]
    told += [("reconnecting", absent), ("running", "YUYV"), ("running", "YUYV"), ("reconnecting", absent)]
    with Outputs() as outputs:
        for state, reason in told:
            outputs.event(Event(state, reason, 0.0, 0.0))
    said = ["stalled: no frame", f"reconnecting: {absent}", f"reconnecting: {busy}", f"reconnecting: {absent}"]
    assert capsys.readouterr().err.splitlines() == [*said, "running again: YUYV", f"reconnecting: {absent}"]


def test_a_line_of_text_for_each_picture(weights: Path, tmp_path: Path) -> None:
    for i in range(3):
        made(tmp_path / f"{i}.png", seed=i)
    frames, _ = run_json("--source", tmp_path, "--weights", weights, "--k", 6)
    lines = good("run", "--source", tmp_path, "--weights", weights, "--k", 6).stdout.splitlines()
    assert lines == [f"{f['source_name']}: {f['label']} {f['score']:.1%}, k=6" for f in frames]
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / f"{i}.png") for i in range(3)]


def test_csv_on_stdout(weights: Path) -> None:
    shown = good("run", "--source", "demo", "--weights", weights, "--max-frames", 3, "--csv")
    names, *rows = csv.reader(io.StringIO(shown.stdout))
    assert names == [name for name in FRAME_KEYS.split() if name != "top"]
    assert [row[0] for row in rows] == ["0", "1", "2"] and all(len(row) == len(names) for row in rows)
    assert "3 frames in " in shown.stderr
    both = call("run", "--source", "demo", "--csv", "--json")
    assert both.exit_code == 2 and "--json and --csv exclude each other" in both.stderr


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["locale", "streams"])
def test_json_is_utf8_in_every_locale(
    locale: dict[str, str], make_weights: Callable[..., Path], tmp_path: Path
) -> None:
    labelled = make_weights(replace(TINY, classes=2))
    file = WeightFile(labelled)
    named = tmp_path / "named.safetensors"
    copy_prefix(file, named, replace(file.meta, labels=("été", "日本")))
    picture = made(tmp_path / "été.png")
    for args in (("classify", picture), ("run", "--source", picture)):
        command = [*PROGRAM, *map(str, args), "--weights", str(named), "--json"]
        done = subprocess.run(command, capture_output=True, env=os.environ | locale, timeout=PATIENCE_S, check=True)
        first = json.loads(done.stdout.decode("utf-8").splitlines()[0])
        assert first["label"] in ("été", "日本")
    assert first["frame"] == 0
