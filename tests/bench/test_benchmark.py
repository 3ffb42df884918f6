"""One quick run of the whole benchmark: every field of its report, and the figures."""

import pytest

import hydrart
from hydrart.bench import benchmark, peak
from tests.support.benching import ARCH, SHAPE, available
from tests.support.commands import Json, good, json_lines
from tests.support.json_page import check

TIMES = "p50_ms p95_ms min_ms calls"
FIELDS = {
    "": """model precision executed image_size heads threads batch merges machine before after peak peak_after rows
        switching empty_growth idle preprocessing seconds others_load""",
    "machine": "cpu cores isa system python numpy numba llvmlite hydrart",
    "before": "temp_c throttle_events throttled frequency_mhz governor load",
    "after": "temp_c throttle_events throttled frequency_mhz governor load",
    "peak": "gops dot isa threads",
    "peak_after": "gops dot isa threads",
    "switching": "switches first_p50 first_p95 by_k",
    "empty_growth": "switches growth_kb",
    "idle": "k rate_fps reached_fps cpu_percent waiting_percent",
}
ROW = """k parameters gmacs gmacs_executed weights_mb top1 times pictures_per_s gops share_of_peak first_call switch
    speedup peers"""
FIRST_CALL = "kernels_ms load_ms first_ms memory_mb mapped_mb"
PEER = """name version precision plain executed threads prepare_ms agrees error correlation ratio times"""


@pytest.fixture(scope="module")
def bench() -> tuple[Json, str]:
    """One quick run: its report, and the messages for people."""
    args: list[object] = ["--shape", SHAPE, "--quick", "--json", "--rate", 50, "--repeats", 2]
    for name in available()[:1]:
        args += ["--against", name, "--against", f"{name}:fp32:plain"]
    shown = good("bench", *args)
    (report,) = json_lines(shown.stdout)
    return report, shown.stderr


def test_every_field_of_the_report(bench: tuple[Json, str]) -> None:
    report, told = bench
    if available():  # without another runtime no field of a peer is printed
        check("hydrart bench", [report])
    for name, fields in FIELDS.items():
        assert list(report[name] if name else report) == fields.split(), name
    assert [frame["frame"] for frame in report["preprocessing"]] == ["480p", "720p", "1080p"]
    assert [frame["width"] for frame in report["preprocessing"]] == [640, 1280, 1920]
    assert [frame["height"] for frame in report["preprocessing"]] == [480, 720, 1080]
    rows = report["rows"]
    assert [row["k"] for row in rows] == [1, 3], "--quick: the fewest and the most heads"
    for row in rows:
        assert list(row) == ROW.split() and list(row["first_call"]) == FIRST_CALL.split()
        for peer in row["peers"]:
            assert list(peer) == PEER.split()
    for times in [*(row["times"] for row in rows), *(frame["times"] for frame in report["preprocessing"])]:
        assert list(times) == TIMES.split()
        assert 0 < times["min_ms"] <= times["p50_ms"] <= times["p95_ms"] and times["calls"] >= 2
    for stage in ("random weights", "peak of the machine", "k=1: first call and memory", "switches", "k=3: timing"):
        assert stage in told.splitlines()


def test_the_figures_of_the_report(bench: tuple[Json, str]) -> None:
    report, _ = bench
    assert report["model"] == f"{SHAPE}, random weights" and report["heads"] == [1, 2, 3]
    assert (report["precision"], report["executed"], report["image_size"], report["batch"]) == ("fp32", "fp32", 16, 1)
    assert report["threads"] >= 1 and report["seconds"] > 0 and report["machine"]["hydrart"] == hydrart.__version__
    assert report["peak"]["gops"] > 0 and report["peak"]["threads"] == report["threads"]
    for row in report["rows"]:
        k = row["k"]
        assert row["parameters"] == ARCH.parameters(k) and row["gmacs"] == ARCH.macs(k) / 1e9
        assert row["gmacs_executed"] == peak.needed_macs(ARCH, k) / 1e9 < row["gmacs"]
        assert row["pictures_per_s"] == pytest.approx(1e3 / row["times"]["p50_ms"])
        assert row["gops"] == pytest.approx(2 * row["gmacs_executed"] * row["pictures_per_s"])
        share = row["gops"] / max(report["peak"]["gops"], report["peak_after"]["gops"])
        assert row["share_of_peak"] == (pytest.approx(share) if share <= 1 else None)
        assert row["top1"] is None and row["switch"] == report["switching"]["by_k"][str(k)]
        assert all(value is None or value >= 0 for value in row["first_call"].values())
        assert row["speedup"] is None if report["threads"] == 1 else row["speedup"] > 0
    assert report["rows"][0]["weights_mb"] < report["rows"][1]["weights_mb"]
    assert report["switching"]["switches"] >= 6 and report["empty_growth"]["switches"] > 0
    assert report["idle"]["k"] in (1, 3) and report["idle"]["rate_fps"] == 50


def test_a_peer_of_the_report_agrees(bench: tuple[Json, str]) -> None:
    report, _ = bench
    if not available():
        pytest.skip("no other runtime is installed (extra: bench)")
    for row in report["rows"]:
        assert [peer["plain"] for peer in row["peers"]] == [False, True]
        for peer in row["peers"]:
            assert peer["name"] == available()[0] and peer["executed"] == "fp32" and peer["agrees"] is True
            assert peer["error"] < 1e-3 and peer["ratio"] > 0 and list(peer["times"]) == TIMES.split()


@pytest.mark.parametrize(("before", "after", "share"), [(100.0, 80.0, 0.5), (20.0, 100.0, 0.5), (20.0, 40.0, None)])
def test_no_share_of_the_peak_is_above_one(before: float, after: float, share: float | None) -> None:
    """Where other programs hold the cores, the peak is measured too low."""
    peaks = [peak.Peak(gops, "fma", "avx2", threads=1) for gops in (before, after)]
    assert benchmark._share(50.0, *peaks) == share
