"""The comparison of nested networks with those trained alone, on the made-up data set."""

import json
from pathlib import Path

import pytest

from tests.support.colours import make_colours, run_tool

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")

from hydrart.convert.parity import one_thread  # noqa: E402
from tools import compare  # noqa: E402

SMALL = ("--depth", 1, "--patch", 8, "--image-size", 16, "--batch", 8, "--threads", 1, "--epochs", 1)


def test_runs_accumulate_and_are_not_made_again(tmp_path: Path) -> None:
    data, results = make_colours(tmp_path / "colours", 8), tmp_path / "r.json"
    places = ("--data", data, "--results", results, "--work", tmp_path / "work")
    files = ("--results", results, "--table", tmp_path / "r.md", "--plot", tmp_path / "r.png")
    assert "no results yet" in run_tool(compare.main, "report", *files).stderr
    first = ("--only", "3 heads alone", "--only", "nested, separate")
    with one_thread():
        for options in (first, ("--only", "12 heads alone", *first)):
            result = run_tool(compare.main, "train", *places, *SMALL, *options)
            assert result.exit_code == 0, result.output
            before = json.loads(results.read_text())["runs"]
    assert (
        "3 heads alone: already among the results" in result.stderr and "12 heads alone: already" not in result.stderr
    )
    assert {name: len(run["top1"]) for name, run in before.items()} == {
        "3 heads alone": 1,
        "nested, separate": 10,
        "12 heads alone": 1,
    }
    assert run_tool(compare.main, "time", "--results", results).exit_code == 0
    assert run_tool(compare.main, "report", *files).exit_code == 0
    text = (tmp_path / "r.md").read_text()
    assert "| k | GMACs | ms | alone | nested, separate |" in text
    assert (
        "Not trained yet: 6 heads alone; nested; nested, weighted; nested, weighted, separate; nested, sandwich."
        in text
    )
    alone = f"{100 * before['12 heads alone']['top1']['12']:.1f}"
    row = next(line for line in text.splitlines() if line.startswith("| 12 |"))
    assert row.split("|")[4].strip() == alone
    top1 = before["nested, separate"]["top1"]["12"] - before["12 heads alone"]["top1"]["12"]
    assert "Nested, separate, against alone: " in text and f"{100 * top1:+.1f} with 12 heads." in text
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    result = run_tool(compare.main, "train", *places, *SMALL, "--lr", 0.1)
    assert result.exit_code == 1 and "another recipe" in result.stderr


def test_results_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[1]")
    result = run_tool(compare.main, "time", "--results", tmp_path / "r.json")
    assert result.exit_code == 1 and "no results of tools.compare" in result.stderr
