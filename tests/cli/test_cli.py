"""What each command but `run` prints, and where."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import hydrart
from hydrart.codegen import isa
from hydrart.format.reader import WeightFile
from tests.support.commands import (
    COMMANDS,
    Make,
    call,
    class_tree,
    good,
    json_lines,
    noise,
    sensors,
    sentence,
    unsealed,
)
from tests.support.networks import CIFAR, SMALL, make_file


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
    assert report["here"]["isa"] == isa.choose().name and report["here"]["threads"] == len(os.sched_getaffinity(0))


def test_info_verifies_checksums(weights: Path, tmp_path: Path) -> None:
    assert "every checksum matches" in good("info", weights, "--verify").stdout
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
        known = "name description latency_ms power_w idle_w jitter thermal capacity_wh sensors"
        assert list(device) == known.split()


def test_devices_here(tmp_path: Path) -> None:
    sensors(tmp_path)
    shown = good("devices", "--here", "--sensor-root", tmp_path).stdout
    assert "51.2 C" in shown and "cpu-thermal" in shown and "50%, 20.0 of 40.0 Wh, draws 6.00 W" in shown
    assert "\nthrottled        throttled\n" in shown and "not under-voltage" in shown and "1500 MHz" in shown
    found = json.loads(good("devices", "--here", "--sensor-root", tmp_path, "--json").stdout)
    assert found["temp_c"] == 51.2 and found["battery"]["share"] == 0.5 and found["throttled"] is True
    assert "none: no thermal zone" in good("devices", "--here", "--sensor-root", tmp_path / "sys").stdout
    assert "is no folder" in sentence("devices", "--here", "--sensor-root", tmp_path / "nowhere")


@pytest.mark.parametrize("as_json", [False, True])
def test_slice(as_json: bool, weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "cut.safetensors"
    shown = good("slice", weights, "--heads", 5, "-o", output, *["--json"] * as_json).stdout
    cut, whole = WeightFile(output), WeightFile(weights)
    assert cut.heads == (3, 4, 5) and bytes(cut.data) == bytes(whole.data[: whole.end(5)])
    assert [path.name for path in tmp_path.iterdir()] == ["cut.safetensors"], "nothing else is left"
    if as_json:
        size = output.stat().st_size
        assert unsealed(shown) == {"output": str(output), "heads": [3, 4, 5], "bytes": size}
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
    assert report["precision"] == "fp32" and report["backend"] == "native"
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


def test_eval_records_accuracy_in_the_file(tmp_path: Path) -> None:
    path = make_file(tmp_path / "net.safetensors")
    tree = class_tree(tmp_path / "tree", dict(enumerate(CIFAR)))
    good("eval", tree, "--weights", path, "--record", "noise", "--json")
    accuracy = WeightFile(path).meta.accuracy
    assert accuracy is not None and (accuracy.dataset, accuracy.pictures) == ("noise", 10)
    assert set(accuracy.top1) == set(SMALL.heads)
