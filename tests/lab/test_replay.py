"""Logs of real runs, as worlds that any policy can drive again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydrart.governor.points import Jitter
from hydrart.lab.replay import Log, as_it_was, device_of, read_log, trace_of
from tests.support.commands import sentence
from tests.support.worlds import BOARD, entry, world


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 frames"),
        (entry(0, 3, 5), "holds 1 frames"),
        ("nonsense", "is no log"),
        ("[" * 100_000, "is no log"),
        (entry(0, 3, 5) + "\n" + entry(0, 3, 5), "not sorted by time"),
        (entry(0, 3, -5) + "\n" + entry(1, 3, 5), "line 1: infer_ms is '-5'"),
        (entry(0, 3, 5, k="x") + "\n" + entry(1, 3, 5), "line 1: k is 'x'"),
        (entry(0, 3, 5, k=0) + "\n" + entry(1, 3, 5), "without latency or k"),
        (entry(0, 3, 5, age_ms=float("nan")) + "\n" + entry(1, 3, 5), "age_ms is 'nan'"),
    ],
)
def test_logs_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    assert words in sentence("replay", path)


def log(tmp_path: Path, lines: list[str]) -> Log:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*lines, json.dumps({"summary": {}})]) + "\n")
    return read_log(path)


def test_a_log_holds_what_was_printed(tmp_path: Path) -> None:
    lines = [entry(0, 6, 50), entry(1, 6, 150), entry(4, 3, 20, dropped=2, deadline_ms=None)]
    read = log(tmp_path, lines)
    assert read.t_s.tolist() == pytest.approx([0, 0.1, 0.4]) and read.k.tolist() == [6, 6, 3]
    assert read.latency_ms.tolist() == [51, 151, 21], "preprocessing and inference"
    assert read.missed.tolist() == [0, 1, 0]
    assert read.deadline_ms.tolist()[:2] == [100, 100] and np.isnan(read.deadline_ms[2])
    assert read.fps == pytest.approx(10), "four frames after the first in 0.4 s, two of them dropped"


def test_the_idle_latency_is_the_fastest_of_the_log(tmp_path: Path) -> None:
    read = log(tmp_path, [entry(0, 4, 39), entry(1, 4, 79), entry(2, 8, 119), entry(3, 8, 159)])
    nothing = replace(BOARD, latency_ms={})
    made = device_of(read, nothing, (2, 4, 6, 8, 12))
    # between the ks that ran a straight line; outside of them one through 0
    assert made.latency_ms == pytest.approx({2: 20, 4: 40, 6: 80, 8: 120, 12: 180})
    assert made.jitter == Jitter(0.0, 0.0, 1.0), "the log has the scatter"
    assert device_of(read, BOARD, (3, 4)).latency_ms == BOARD.latency_ms


def test_slowdowns_are_over_the_idle_latency(tmp_path: Path) -> None:
    read = log(tmp_path, [entry(0, 4, 39), entry(1, 4, 79), entry(2, 5, 59, deadline_ms=None)])
    made = trace_of(read, BOARD)
    assert made.columns["slowdown"].tolist() == pytest.approx([1, 2, 1])
    assert made.columns["deadline_ms"].tolist() == pytest.approx([100, 100, 1000 / read.fps])


def test_the_run_itself_is_the_first_row(tmp_path: Path) -> None:
    read = log(tmp_path, [entry(0, 3, 20), entry(1, 5, 150), entry(3, 3, 20, dropped=1)])
    made = as_it_was(read, world(duration_s=0.4))
    assert made.k.tolist() == [3, 5, 0, 3] and made.missed.tolist() == [False, True, True, False]
    assert made.accuracy == pytest.approx(0.6 * 2 / 4)
