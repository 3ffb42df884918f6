"""What the live page shows, and when it is encoded."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

import hydrart
from hydrart.dashboard.feed import Feed, small
from hydrart.model import Prediction
from hydrart.stream.events import Event
from hydrart.stream.result import Result
from tests.support.commands import PATIENCE_S


def made_up(k: int, t_wall: float) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), 1.0, 2.0)
    return Result(0, 0.0, t_wall, prediction, 3.0, 4.0, None, 0, hydrart.Decision(k, "deadline"), {"temp_c": 50.0})


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
