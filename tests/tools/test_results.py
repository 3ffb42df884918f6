"""The command that measures the governor: short runs, and the tables made of them."""

from pathlib import Path

import pytest

from hydrart.lab import policies
from hydrart.resources import bundled
from tools import results, results_tables


@pytest.fixture(scope="module")
def rows() -> list[results_tables.Row]:
    made = []
    for trace in ("quiet", "battery"):
        for seed in (1, 2):
            world = results.make_world(trace, 15, "hydravit-b", seed, seconds=20)
            made += results.measure_world(world, trace, "hydravit-b", seed, {})
    return made


def test_a_row_for_each_policy(rows: list[results_tables.Row]) -> None:
    names = policies.names(results.make_world("quiet", 15, "hydravit-b", 1, seconds=20))
    assert [row["policy"] for row in rows] == list(names) * 4, "of two traces and two seeds"
    assert {row["until_h"] for row in rows} == {None, 0.5}
    assert all(row["frames"] == 300 for row in rows)


def test_tables(rows: list[results_tables.Row], tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text(f"before\n{results_tables.TABLES_START}of yesterday\n{results_tables.TABLES_END}after\n")
    results_tables.write(rows, path)
    text = path.read_text()
    first = text.partition("###")[2].partition("###")[0]
    assert "| quiet | " in first and "| battery | " in first
    assert text.startswith("before\n") and text.endswith("after\n") and "of yesterday" not in text
    lines = text.splitlines()
    own = [row for row in rows if row["policy"] == "governor" and row["trace"] == "quiet"]
    late = 100 * sum(row["miss_rate"] for row in own) / 2
    assert any(line.startswith(f"| quiet | 15 | {late:.2f}") for line in lines)
    assert any(line.startswith("| at most 1 % late when quiet | ") for line in lines)
    fixed = {row["policy"] for row in rows if row["policy"].startswith("fixed-")}
    assert {line.split()[1] for line in lines if line.startswith("| fixed-")} == fixed


def test_every_trace_is_in_the_recorded_results() -> None:
    text = Path(__file__).parents[2].joinpath("docs/governor-results.md").read_text("utf-8")
    for trace in bundled("devices/traces", ".csv"):
        assert f"| {trace} | 15 | " in text, "measure it: python -m tools.results --trace"


def test_a_higher_price_of_a_missed_frame_brings_fewer() -> None:
    scores = results.price_scores("bursts", 30, "hydravit-b", seconds=60)
    late, accuracy, gaps = zip(*scores, strict=True)
    assert len(scores) == len(results.PRICES) and late[0] > late[-1] and accuracy[0] > accuracy[-1]
    assert all(0 < gap < 0.2 for gap in gaps), "nobody beats the oracle"
