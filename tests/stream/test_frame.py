"""stream/frame.py: when a frame's turn comes, and how long the machine slept."""

import time

import numpy as np
import pytest

from hydrart.stream.frame import Frame, asleep_s

FRAME = Frame(np.zeros((2, 2, 3), np.uint8), 7, t_capture=100.0, t_wall=1000.0, capture_ms=3.0, stamp="x")


def test_a_frame_does_not_age_before_its_turn() -> None:
    due = FRAME.due(100.5)
    assert (due.t_capture, due.t_wall) == (100.5, 1000.5)
    assert due.picture is FRAME.picture and (due.number, due.stamp, due.capture_ms) == (7, "x", 3.0)


def test_one_whose_turn_has_come_keeps_its_stamps() -> None:
    assert FRAME.due(100.0) is FRAME and FRAME.due(99.0) is FRAME


def test_sleep_is_what_only_one_clock_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_BOOTTIME: 500.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    monkeypatch.setattr(time, "monotonic", lambda: 420.0)
    assert asleep_s() == 80.0
    monkeypatch.undo()
    before = asleep_s()
    assert abs(asleep_s() - before) < 0.5, "nobody slept"
