"""What commands print with --json is what docs/json.md says: fields, order, types, ranges, nulls, version."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hydrart.cli.main import main
from hydrart.json_lines import SCHEMA, json_line, versioned
from hydrart.readings import READINGS, View, shown
from hydrart.source.v4l2 import Camera, Format
from tests.support.commands import class_tree, good, json_lines, sensors
from tests.support.json_page import PAGE, check, tables
from tests.support.networks import TOKEN_LOOKS, make_file

FRAME = "hydrart run: a frame"


def printed(*args: object) -> list[dict[str, Any]]:
    return json_lines(good(*args, "--json").stdout)


def test_the_version_comes_last_and_once() -> None:
    line = versioned({"b": 1, "a": None})
    assert list(line.items()) == [("b", 1), ("a", None), ("schema", SCHEMA)] and versioned(line) == line
    assert json_line({"ü": 1}) == f'{{"ü": 1, "schema": {SCHEMA}}}'
    assert f'"schema": {SCHEMA}' in PAGE.read_text("utf-8")


def test_every_command_with_json_is_on_the_page() -> None:
    def commands(group: click.Group, name: str) -> Iterator[str]:
        for word, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from commands(command, f"{name} {word}")
            elif any(parameter.name == "as_json" for parameter in command.params):
                yield f"{name} {word}"

    headings = {line.removeprefix("## ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("## ")}
    described = {heading.split(":")[0] for heading in headings if heading.startswith("hydrart ")}
    assert described == set(commands(main, "hydrart")) | {"hydrart devices --here"}


def test_the_lines_of_a_run_and_its_log(weights: Path, tmp_path: Path) -> None:
    board, log = tmp_path / "board", tmp_path / "run.jsonl"
    sensors(board)
    args = ("run", "--source", "demo", "--weights", weights, "--fps", 30, "--max-frames", 30, "--sensor-root", board)
    *frames, last = printed(*args, "--log", log)
    check(FRAME, frames)
    assert frames[-1]["temp_c"] is not None
    assert list(last) == ["summary"]
    check("hydrart run: the summary", [last["summary"]])
    first, *lines = json_lines(log.read_text())
    assert list(first) == ["run"] and [line for line in lines if "frame" in line] == frames
    check("hydrart run: the head of a log", [first["run"]])
    events = [line for line in lines if "event" in line]
    assert all(list(line) == ["event"] for line in events)
    check("hydrart run: an event", [line["event"] for line in events])


def test_readings_stand_in_a_frame_as_the_table_of_readings_says() -> None:
    frame, here = tables()[FRAME], tables()["hydrart devices --here"]
    names = list(frame)
    assert names[names.index("dropped") + 1 : names.index("reason")] == list(shown(View.LINE))
    assert next(iter(here)) == "temperatures"
    assert [name for name in here if "." not in name and "[" not in name][1:] == list(shown(View.HERE))
    for name, row in READINGS.items():
        for table in (frame, here):
            if name not in table or table[name].kind == "object":
                continue
            field = table[name]
            assert field.meaning == row.meaning and field.unit == row.unit, name
            assert field.kind == ("boolean" if row.is_flag else "number"), name
            assert row.is_flag or field.range == f"{row.low:.6g} to {row.high:.6g}", name
        if name in frame:
            assert f"for {row.fresh_s:g} s" in frame[name].null, name


def test_classify(weights: Path, album: Path) -> None:
    check("hydrart classify", printed("classify", album, "--weights", weights))


def test_eval(weights: Path, tmp_path: Path) -> None:
    pictures = class_tree(tmp_path, {0: "cat", 1: "dog"})
    check("hydrart eval", printed("eval", pictures, "--weights", weights, "--k", 3, "--k", 4))


def test_info_and_slice(weights: Path, tmp_path: Path) -> None:
    looks = make_file(tmp_path / "looks.safetensors", TOKEN_LOOKS)
    check("hydrart info", [*printed("info", weights), *printed("info"), *printed("info", looks)])
    check("hydrart slice", printed("slice", weights, "--heads", 5, "-o", tmp_path / "cut.safetensors"))


def test_devices(tmp_path: Path) -> None:
    check("hydrart devices", printed("devices"))
    (tmp_path / "none").mkdir()
    sensors(tmp_path / "board")
    here = ("devices", "--here", "--sensor-root")
    check("hydrart devices --here", [*printed(*here, tmp_path / "board"), *printed(*here, tmp_path / "none")])


def test_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = ((1, "init"),)
    camera = Camera("/dev/video0", "eye", "uvcvideo", True, True, holders, (Format("MJPG", {(640, 480): (30.0,)}),))
    closed = Camera("/dev/video1", None, None, False, None, (), ())
    monkeypatch.setattr("hydrart.cli.cameras.cameras", lambda: [camera, closed])
    check("hydrart cameras", printed("cameras"))


def test_a_service_that_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    status = ("service", "status", "--name", "eye", "--json")
    check("hydrart service status", json_lines(good(*status).stdout))
    started = good("service", "install", "--no-start", "--name", "eye", "--json", "--", "run").stdout
    check("hydrart service install", json_lines(started))
    check("hydrart service remove", json_lines(good("service", "remove", "--name", "eye", "--json").stdout))


def test_warmup() -> None:
    check("hydrart warmup", printed("warmup"))


def test_simulate_and_replay(weights: Path, tmp_path: Path) -> None:
    short = ("simulate", "--device", "raspberrypi5", "--trace", "square", "--duration", 120, "--policy")
    bare = tmp_path / "bare.yaml"
    bare.write_text("latency_ms: {3: 10, 12: 90}\n")
    lines = printed(*short, "governor", "--until", 2)
    lines += printed("simulate", "--device", bare, "--trace", "quiet", "--duration", 20, "--policy", "fixed-3")
    check("hydrart simulate", lines)
    log = tmp_path / "run.jsonl"
    log.write_text(good("run", "--json", "--source", "demo", "--weights", weights, "--max-frames", 20).stdout)
    check("hydrart simulate", printed("replay", log))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "the line has"),
        ({"k": 3.5}, "no integer"),
        ({"k": True}, "no integer"),
        ({"score": 1.5}, "the page says 0 to 1"),
        ({"label": None}, "does not say when"),
        ({"reason": "whim"}, "the page says"),
    ],
)
def test_a_line_that_differs_from_the_page_is_found(change: dict[str, Any], words: str, weights: Path) -> None:
    frame, _ = printed("run", "--source", "demo", "--weights", weights, "--max-frames", 1)
    check(FRAME, [frame])
    with pytest.raises(AssertionError, match=words):
        check(FRAME, [frame | change])
    del frame["missed"]
    with pytest.raises(AssertionError, match="the line has"):
        check(FRAME, [frame])
