"""`hydrart replay`: a log, made up or of a real run, driven again."""

import json
from pathlib import Path

from tests.support.commands import good, json_lines
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
