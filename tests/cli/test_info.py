"""hydrart info"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import hydrart
from hydrart.codegen import isa
from hydrart.device.sensors import survey
from hydrart.format.reader import WeightFile
from tests.support.commands import good, json_lines, sentence
from tests.support.networks import CIFAR, GRID_LOOKS, SMALL


def test_info_as_text(weights: Path) -> None:
    shown = good("info", weights)
    assert not shown.stderr
    lines = shown.stdout.splitlines()
    assert str(weights) in lines[0] and "fp32" in lines[0] and "3-12" in lines[0]
    rows = [line.split() for line in lines if line.strip()[:2].strip().isdigit()]
    assert [int(row[0]) for row in rows] == list(SMALL.heads)
    assert hydrart.__version__ in shown.stdout and "version 1, one look at a picture, with any k" in shown.stdout


def test_info_as_json(weights: Path) -> None:
    (report,) = json_lines(good("info", weights, "--json").stdout)
    file = WeightFile(weights)
    assert (
        report["path"] == str(weights)
        and report["version"] == 1
        and report["precision"] == "fp32"
        and report["labels"] == list(CIFAR)
    )
    assert report["architecture"] == {**vars(SMALL), "heads": list(SMALL.heads), "looks": []}
    assert report["accuracy"] is None and report["verified"] is False
    assert [row["k"] for row in report["networks"]] == list(SMALL.heads)
    for row in report["networks"]:
        state = file.state(row["k"])
        assert row["parameters"] == sum(state[name].size for name in state)
        assert row["bytes"] == file.end(row["k"]) and row["top1"] is None
    known = survey()
    expected = [goal for goal, name in (("max_temp_c", "temp_c"), ("until_h", "battery")) if known[name] is None]
    assert report["here"]["blind"] == expected
    assert report["here"]["isa"] == isa.choose().name and report["here"]["threads"] == len(os.sched_getaffinity(0))


def test_info_of_looks(make_weights: Callable[..., Path]) -> None:
    weights = make_weights(GRID_LOOKS)
    shown = good("info", weights).stdout
    assert "version 2, looks at a picture with k=3 at 24x24 pixels, then k=6 at 32x32 pixels; fusion grid" in shown
    (report,) = json_lines(good("info", weights, "--json").stdout)
    assert report["version"] == 2 and report["architecture"]["fusion"] == "grid"
    assert report["architecture"]["looks"] == [{"heads": 3, "image_size": 24}, {"heads": 6, "image_size": 32}]
    assert [row["k"] for row in report["networks"]] == [3, 6]


def test_info_verifies_checksums(weights: Path, tmp_path: Path) -> None:
    assert "every checksum matches" in good("info", weights, "--verify").stdout
    assert json.loads(good("info", weights, "--verify", "--json").stdout)["verified"] is True
    damaged = tmp_path / "x.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    assert "checksum" in sentence("info", damaged, "--verify")
    good("info", damaged)
