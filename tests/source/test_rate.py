"""The rate of a video: what its container states, and what its timestamps say."""

from pathlib import Path

import pytest

from hydrart.source.opener import Opener
from hydrart.source.rate import is_sane, measured, rate
from tests.support.commands import run_json
from tests.support.videos import encode, stripes

BROWSER_MS = [0, 34, 67, 99, 134, 166, 201, 233, 267, 299, 334, 367, 399, 433, 467, 500, 533, 567, 601, 633]


def test_gaps_and_orders_do_not_count() -> None:
    times = [i / 25 for i in range(40)]
    assert measured(times) == pytest.approx(25)
    assert measured(times[::-1]) == pytest.approx(25)
    assert measured([*times, *(60 + t for t in times)]) == pytest.approx(25), "the recording paused for a minute"
    assert measured([0.0]) is None and measured([]) is None and measured([1.0, 1.0]) is None
    decoded = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11, 16]  # B-frames come after those that they need
    assert measured(i / 25 for i in decoded) == pytest.approx(25)


def test_a_stated_rate_counts_where_the_timestamps_agree() -> None:
    times = [i / 29.97 for i in range(40)]
    assert rate([30000 / 1001], times) == 30000 / 1001
    assert rate([1000.0, 30000 / 1001], times) == 30000 / 1001
    assert rate([1000.0], times) == pytest.approx(29.97)
    assert rate([1e-6, float("nan")], times) == pytest.approx(29.97)
    assert rate([90000.0, 25.0], []) == 25 and rate([90000.0], []) is None and rate([], []) is None


def test_rates_that_no_camera_has() -> None:
    assert [is_sane(fps) for fps in (0.0, 0.001, 0.1, 30.0, 240.0, 1000.0, 6e4, float("nan"))] == [
        *(False, False, True, True, True, False, False, False),
    ]


@pytest.mark.parametrize("stated", [1000, 60, 7])
def test_a_browser_s_webm(stated: int, weights: Path, tmp_path: Path) -> None:
    """Its header states 1000 frames a second, or none; the pictures come at 30."""
    path = encode(tmp_path / "x.webm", [stripes(48, 96)] * 20, "libvpx", fps=stated, times_ms=BROWSER_MS)
    assert Opener(path).open().fps == pytest.approx(30, rel=0.02)
    out = tmp_path / "out.mp4"
    frames, _ = run_json("--source", path, "--weights", weights, "--save-video", out)
    assert len(frames) == 20 and [frame["deadline_ms"] for frame in frames] == [pytest.approx(1000 / 30, rel=0.02)] * 20
    saved = list(Opener(out).open().shots())
    assert len(saved) == 20 and Opener(out).open().fps == pytest.approx(30, rel=0.02)


def test_timestamps_that_make_no_sense_are_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", [stripes(48, 96)] * 20, "mpeg4", times_ms=range(20))
    told: list[str] = []
    source = Opener(path, warn=told.append).open()
    assert source.fps is None and len(told) == 1 and "claims 1000 frames a second: pass --fps" in told[0]


def test_dv_has_the_rate_of_its_pictures(tmp_path: Path) -> None:
    """Raw DV: its container has a clock of 60000 ticks a second."""
    path = encode(tmp_path / "x.dv", [stripes()] * 8, "dvvideo")
    told: list[str] = []
    source = Opener(path, warn=told.append).open()
    assert source.fps == 25 and len(list(source.shots())) == 8 and not told
