"""What the live page shows, and when it is encoded."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from hydrart.dashboard.feed import Feed, small
from hydrart.stream.events import Event
from tests.support.commands import PATIENCE_S
from tests.support.results import made_up


def test_history_has_a_point_a_second_and_every_switch() -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")
    feed = Feed(lambda: None)
    for i in range(25):
        result = made_up(3 + (i >= 15), 100 + i / 10)
        feed.result(result, result.as_dict())
    history = feed.history()
    feed.close()
    assert [int(point["t"]) for point in history["points"]] == [100, 101, 102]
    expected = {
        "t": 100.0,
        "k": 3,
        "age_ms": 4.0,
        "deadline_ms": None,
        "temp_c": 50.0,
        "battery": None,
        "power_w": None,
    }
    assert history["points"][0] == expected
    assert history["latest"]["k"] == 4 and history["latest"]["why"] == "deadline"
    assert history["switches"] == [{"t": 101.5, "from": 3, "to": 4, "reason": "deadline"}]


def test_nothing_is_encoded_for_nobody() -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")
    published = threading.Event()
    feed = Feed(published.set)
    result = replace(made_up(3, 100.0), picture=np.zeros((8, 8, 3), np.uint8))
    feed.result(result, result.as_dict())
    assert feed.latest is result and not feed.lines and feed.picture == (0, b"")
    feed.watch(+1)
    feed.event(Event("running", "a frame came", 1.0, 2.0))
    feed.result(result, result.as_dict())
    assert published.wait(PATIENCE_S)
    while len(feed.lines) < 2:
        published.clear()
        assert published.wait(PATIENCE_S)
    feed.close()
    event, line = (json.loads(data) for _, data in feed.lines)
    assert event["event"]["state"] == "running" and line["why"] == "deadline"
    assert event["schema"] == line["schema"] == 1 and feed.picture[1].startswith(b"\xff\xd8"), "a JPEG"


def test_pictures_of_any_width_fit_the_page() -> None:
    wide = np.zeros((1080, 1920, 3), np.uint8)[:, ::-1]
    assert small(wide).shape == (360, 640, 3) and small(wide).flags.c_contiguous
    assert small(np.zeros((5, 640, 3), np.uint8)).shape == (5, 640, 3)
    assert small(np.zeros((70_000, 2, 3), np.uint8)).shape[0] <= 1280, "JPEG ends at 65,535 pixels"


def test_a_new_watcher_sees_the_last_picture_although_no_other_comes() -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")
    published = threading.Event()
    feed = Feed(published.set, seen=lambda height, width: (0.25, 0, 0.5, 1))
    result = replace(made_up(3, 100.0), picture=np.zeros((8, 16, 3), np.uint8))
    feed.result(result, result.as_dict())
    assert feed.history()["latest"]["seen"] == [0.25, 0, 0.5, 1]
    feed.watch(+1)
    assert published.wait(PATIENCE_S)
    feed.close()
    assert feed.picture[0] == 1 and feed.picture[1].startswith(b"\xff\xd8")


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")
    feed = Feed(lambda: None)
    result = made_up(3, 100.0)
    now = [1000.0]
    monkeypatch.setattr("hydrart.dashboard.feed.time.monotonic", lambda: now[0])
    assert feed.rate() == 0
    for i in range(200):
        now[0] = 1000 + i / 20
        feed.result(result, result.as_dict())
    assert feed.rate() == pytest.approx(20, rel=0.02)
    now[0] += 5
    assert feed.rate() == pytest.approx(10, rel=0.02)
    now[0] += 60
    assert feed.rate() == 0
    monkeypatch.undo()
    feed.close()
