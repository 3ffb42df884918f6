"""The report of a benchmark as text and as JSON."""

import json
from dataclasses import replace

import pytest

from hydrart.bench.report import as_json, as_text, title
from hydrart.bench.switch_cost import SwitchCost
from tests.support.benching import REPORT

TEXT = """\
net: int8 (computed in fp32), 16x16 pixels, heads 1-3, 2 threads, batch 1
Some CPU, 4 cores, avx2; Linux 6 x86_64
hydrart 0.1.0, Python 3.11.7, NumPy 2.4.6, Numba 0.68.1
peak of 2 threads: 100.0 GOP/s (fma in registers)
"""


def columns(header: str) -> list[dict[str, str]]:
    """The rows of the table whose header starts with these words, by the names of the columns."""
    lines = as_text(REPORT).splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == header.split())
    end = next(i for i in range(start, len(lines)) if not lines[i] or ": " in lines[i])
    cells = [[cell.strip() for cell in line.strip().split("  ") if cell] for line in lines[start:end]]
    assert len({len(line) for line in lines[start:end]}) == 1, "the columns are aligned"
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def test_the_head_names_model_and_machine() -> None:
    assert as_text(REPORT).startswith(TEXT)
    assert title(REPORT) == "net in int8 on Some CPU (avx2), 2 threads"
    assert title(replace(REPORT, threads=1)).endswith("1 thread")
    assert as_text(replace(REPORT, executed="int8")).startswith("net: int8, 16x16")


def test_the_head_names_the_merged_tokens() -> None:
    assert as_text(replace(REPORT, merges=(2, 0))).splitlines()[0].endswith("batch 1, blocks merge 2, 0 tokens")


def test_the_table_of_ks() -> None:
    first, second = columns("k GMACs")
    assert first["k"] == "1" and first["p50 ms"] == "2.00" and first["p95 ms"] == "3.00" and first["min ms"] == "1.00"
    assert (first["switch"], first["speed-up"], first["memory MB"]) == ("unknown", "-", "unknown")
    assert (second["GMACs"], second["executed"], second["pictures/s"]) == ("0.750", "0.600", "250.0")
    assert (second["GOP/s"], second["of peak"], second["first ms"]) == ("40.0", "40.0%", "11.5")
    assert (second["switch"], second["speed-up"], second["weights MB"]) == ("1.002", "1.50", "4.5")
    assert second["top-1"] == "80.00%"


def test_the_table_of_peers() -> None:
    peer, stranger = columns("k peer")
    assert (peer["k"], peer["peer"], peer["asked"], peer["last block"]) == ("3", "openvino", "int8", "all tokens")
    assert (peer["/ hydrart"], peer["error"], peer["correlation"]) == ("1.75", "1.2e-02", "0.9987")
    assert (peer["p50 ms"], peer["prepared s"]) == ("7.00", "1.5")
    assert (stranger["last block"], stranger["executed"]) == ("class token", "unknown")
    assert (stranger["/ hydrart"], stranger["p50 ms"], stranger["error"]) == ("disagrees", "-", "unknown")


def test_the_lines_below_the_tables() -> None:
    text = as_text(REPORT).splitlines()
    assert "switch of k: the first call takes 1.004 of the steady state (p95 1.100, 60 switches)" in text
    assert "memory after 12,345 random switches of a tiny network: unknown KB more" in text
    assert "k=3 at 15 fps: reached 14.9 fps, CPU 30 % of a core, unknown % while waiting" in text
    state = "41 °C, throttled 7 times since the start, 1500 MHz, governor ondemand, load 0.25"
    assert f"before: {state}; peak 100.0 GOP/s" in text
    state = "unknown °C, throttled yes, unknown MHz, governor unknown, load unknown"
    assert f"after:  {state}; peak 90.0 GOP/s" in text
    assert text[-1] == "measured in 62 s"
    only = replace(REPORT, switching=SwitchCost(0, None, None, {}))
    assert "switch of k" not in as_text(only), "one k alone: there is nothing to switch"


def test_json_holds_every_field() -> None:
    found = json.loads(json.dumps(as_json(REPORT), allow_nan=False))
    assert found["rows"][1]["peers"][0]["times"] == {"p50_ms": 7, "p95_ms": 8, "min_ms": 6.5, "calls": 9}
    assert found["rows"][0]["first_call"]["memory_mb"] is None and found["before"]["governor"] == "ondemand"
    assert found["switching"]["by_k"] == {"3": 1.002} and found["preprocessing"][0]["frame"] == "480p"


def test_a_share_of_the_peak_that_is_unknown() -> None:
    said = "a share of the peak is unknown where other programs held the cores while the peak was measured"
    assert said not in as_text(REPORT)
    busy = replace(REPORT, rows=[replace(row, share_of_peak=None) for row in REPORT.rows])
    assert said in as_text(busy).splitlines()


def test_other_programs_are_named_first() -> None:
    said = "other programs kept 1.5 of 4 cores busy, so these times are too long: end them and measure again"
    assert as_text(replace(REPORT, others_load=1.5)).splitlines()[0] == said
    for quiet in (None, 0.1):
        assert as_text(replace(REPORT, others_load=quiet)).startswith(TEXT)


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_it_fits_a_terminal(columns: int) -> None:
    text = as_text(REPORT, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert text.split() != as_text(REPORT).split() and set(as_text(REPORT).split()) == set(text.split())
