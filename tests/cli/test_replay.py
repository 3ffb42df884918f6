"""`hydrart replay`: a log, made up or of a real run, driven again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tests.support.commands import good, json_lines, sentence
from tests.support.worlds import KEYS, entry


def test_a_log_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [entry(i, 6, 150.0 if 100 <= i < 110 else 50.0) for i in range(300)]
    path.write_text("\n".join([*lines, json.dumps({"summary": {}})]) + "\n")
    was, governor = json_lines(good("replay", path, "--json").stdout)
    assert list(was) == list(governor) == KEYS.split() and was["policy"] == "as it was"
    assert (was["frames"], was["missed"], was["dropped"]) == (300, 10, 0)
    assert governor["frames"] == 300 and governor["missed"] < 10, "smaller ks were in time"
    names = [line["policy"] for line in json_lines(good("replay", path, "--policy", "all", "--json").stdout)]
    assert "oracle" in names and "fixed-12" in names
    assert good("replay", path, "--device", "raspberrypi5").stdout.splitlines()[1].startswith("as it was")


def test_a_real_run_can_be_replayed(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(good("run", "--source", "demo", "--weights", weights, "--max-frames", 20, "--json").stdout)
    was, governor = json_lines(good("replay", path, "--json").stdout)
    assert was["frames"] - was["dropped"] == 20 and governor["policy"] == "governor"


def test_a_row_says_nothing_that_the_log_does_not(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [entry(i, 6, 50.0) for i in range(30)]
    path.write_text("\n".join([*lines, json.dumps({"summary": {"throttled_s": 1.25}})]) + "\n")
    was, governor = json_lines(good("replay", path, "--device", "raspberrypi5", "--json").stdout)
    assert was["energy_j"] is None and was["over_target_c_s"] is None and was["battery_end_h"] is None
    assert was["throttled_s"] == 1.25, "the log has it"
    assert governor["energy_j"] > 0 and governor["over_target_c_s"] == 0
    shown = good("replay", path)
    assert "late counts dropped frames" in shown.stderr
    assert "energy (the device profile has no power_w)" in shown.stderr
    assert "settles in (" in shown.stderr and "throttled (" not in shown.stderr


def test_accuracies_are_those_of_the_run(weights: Path, tmp_path: Path) -> None:
    path, own = tmp_path / "log.jsonl", tmp_path / "own.safetensors"
    file = WeightFile(weights)
    accuracy = Accuracy("test", 100, dict.fromkeys(file.heads, 0.25), dict.fromkeys(file.heads, 0.5))
    copy_prefix(file, own, replace(file.meta, accuracy=accuracy))
    lines = [json.dumps({"run": {"weights": str(own)}}), *(entry(i, 6, 50.0) for i in range(30))]
    path.write_text("\n".join(lines) + "\n")
    assert "25.00%" in good("replay", path).stdout.splitlines()[1]
    own.unlink()
    shown = good("replay", path)
    assert "25.00%" not in shown.stdout and "hydravit-cifar10's stands for it" in shown.stderr


def test_the_last_run_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    head, end = json.dumps({"run": {}}), json.dumps({"summary": {"throttled_s": 3}})
    first, second = [entry(i, 6, 50.0) for i in range(30)], [entry(i, 3, 20.0) for i in range(5)]
    for between in ([end], [head], [end, head]):
        path.write_text("\n".join([*first, *between, *second]) + "\n")
        shown = good("replay", path, "--json")
        assert json_lines(shown.stdout)[0]["frames"] == 5 and json_lines(shown.stdout)[0]["throttled_s"] is None
        assert f"{path} holds 2 runs: this is the last one" in shown.stderr


def test_a_k_without_an_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(entry(i, 2, 50.0) for i in range(30)) + "\n")
    assert "has k=2, whose accuracy is unknown: give the network's --accuracy" in sentence("replay", path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([entry(0, 6, 50.0), entry(1, 6, 50.0, dropped=10**11)], "dropped frames: a replay takes 10,000,000"),
        ([entry(0, 6, 50.0), entry(1, 6, 50.0, t_capture=10**11)], "are too much to simulate"),
        (["x" * 2_000_000], "is no log"),
    ],
)
def test_values_that_ask_for_terabytes(lines: list[str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    assert words in sentence("replay", path)


def test_a_device_is_no_log() -> None:
    assert "is no log" in sentence("replay", "/dev/zero")
