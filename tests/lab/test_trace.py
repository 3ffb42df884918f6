"""Traces: what holds when, what is between two ks, and files that are wrong."""

from pathlib import Path

import numpy as np
import pytest

from hydrart.errors import ProfileError
from hydrart.lab.trace import load_trace
from hydrart.resources import bundled
from tests.support.commands import sentence
from tools import traces


def test_a_trace_holds_until_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t_s,slowdown,load_w\n0,1,0\n10,2.5,3\n")
    loaded = load_trace(path)
    times = np.array([0, 9.9, 10, 500.0])
    assert loaded.at(times, "slowdown").tolist() == [1, 1, 2.5, 2.5]
    assert loaded.slowdowns(times, (3, 9))[:, 1].tolist() == [1, 1, 2.5, 2.5]
    assert loaded.at(times, "ambient_c", 25.0).tolist() == [25] * 4 and loaded.at(times, "faults").tolist() == [0] * 4


def test_a_trace_from_a_spreadsheet(tmp_path: Path) -> None:
    """Some write a byte order mark first."""
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbft_s,slowdown\r\n0,1\r\n5,2\r\n")
    assert list(load_trace(tmp_path / "x.csv").columns["slowdown"]) == [1, 2]


def test_slowdowns_of_each_k_and_between(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t_s,slowdown_k3,slowdown_k5\n0,1,3\n")
    assert load_trace(path).slowdowns(np.zeros(1), (2, 3, 4, 5, 9)).tolist() == [[1, 1, 2, 3, 3]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column t_s"),
        ("t_s,slowdown\n", "has no rows"),
        ("t_s,slow_down\n0,1\n", "did you mean slowdown?"),
        ("t_s,slowdown_k0\n0,1\n", "unknown column"),
        ("slowdown\n1\n", "has no column t_s"),
        ("t_s,slowdown,slowdown\n0,1,1\n", "a column twice"),
        ("t_s,slowdown,slowdown_k3\n0,1,1\n", "use one or the other"),
        ("t_s,slowdown\n0\n", "line 2: 1 values for 2 columns"),
        ("t_s,slowdown\n0,\n", "line 2: slowdown is missing"),
        ("t_s,slowdown\n0,nan\n", "slowdown is 'nan'"),
        ("t_s,slowdown\n0,inf\n", "slowdown is 'inf'"),
        ("t_s,slowdown\n0,-1\n", "slowdown is '-1'"),
        ("t_s,slowdown\n0,fast\n", "slowdown is 'fast'"),
        ("t_s,load_w\n0,-1\n", "load_w is '-1'"),
        ("t_s,deadline_ms\n0,0\n", "deadline_ms is '0'"),
        ("t_s,slowdown\n-1,1\n", "t_s is '-1'"),
        ("t_s,slowdown\n0,1\n5,1\n5,2\n", "does not rise after 5"),
        ("t_s,slowdown\n9,1\n5,1\n", "does not rise after 9"),
    ],
)
def test_traces_that_are_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    said = sentence("simulate", "--device", "raspberrypi5", "--trace", path, "--duration", 1)
    assert words in said and str(path) in said


def test_a_trace_of_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="is no CSV"):
        load_trace(path)


def test_the_traces_that_ship_are_those_of_the_script(tmp_path: Path) -> None:
    shipped = bundled("devices/traces", ".csv")
    traces.write(tmp_path, seed=1)
    for name in traces.TRACES:
        assert shipped[name].read_bytes() == (tmp_path / f"{name}.csv").read_bytes()
        load_trace(name)
    traces.write(tmp_path, seed=2)
    assert shipped["bursts"].read_bytes() != (tmp_path / "bursts.csv").read_bytes()
