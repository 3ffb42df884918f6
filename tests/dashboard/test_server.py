"""The page's threads: what fails in them is said, counts for the health, and ends neither the page nor the run."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import hydrart
from hydrart.stream.events import Event
from tests.support.commands import PATIENCE_S
from tests.support.dashboards import page


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_setting_that_fails_in_the_loop_is_an_event(model: hydrart.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object) -> None:
        raise RuntimeError("it broke")

    events: list[Event] = []
    with page(model, on_event=events.append) as running:
        monkeypatch.setattr(running.governor, "limit_temperature", fail)
        assert running.ask("/control", "POST", {"max_temp_c": 60})[0] == 200
        until(lambda: bool(events))
        answered = running.latest_frame()
        until(lambda: running.latest_frame() > answered + 5)
        assert json.loads(running.ask("/history")[1])["max_temp_c"] is None, "what is in force"
    assert [event.reason for event in events] == ["a setting of the page was not taken: it broke"]
    assert events[0].state == "running"


def test_a_picture_that_cannot_be_encoded_is_said_and_the_next_is_shown(
    model: hydrart.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with page(model) as running:
        feed = running.dashboard.feed
        encode = feed._encode

        def fail(picture: object, quality: int) -> bytes:
            raise ValueError("no such picture")

        monkeypatch.setattr(feed, "_encode", fail)
        data = running.read("/events", lambda data: data.count(b"data: ") > 20)
        assert data, "the lines go on"
        status, body, _ = running.ask("/healthz")
        assert status == 503
        assert json.loads(body)["problems"] == ["a picture cannot be encoded: ValueError: no such picture"]
        monkeypatch.setattr(feed, "_encode", encode)
        running.read("/picture", lambda data: b"image/jpeg" in data)
        until(lambda: running.ask("/healthz")[0] == 200)
        assert running.said == ["the live page keeps its last picture: ValueError: no such picture"]


@pytest.mark.parametrize("shape", [(70_000, 4), (4, 70_000), (65_501, 1), (1, 1)])
def test_pictures_of_any_shape_are_shown(shape: tuple[int, int], model: hydrart.Model) -> None:
    with page(model) as running:
        feed = running.dashboard.feed
        feed.watch(1)
        until(lambda: feed.latest.picture is not None)
        shown = feed.picture[0]
        odd = replace(feed.latest, picture=np.zeros((*shape, 3), np.uint8))
        for _ in range(20):  # between those of the stream
            feed.result(odd, odd.as_dict())
            time.sleep(0.02)
        until(lambda: feed.picture[0] > shown + 2)
        assert feed._thread.is_alive() and not feed.trouble and not running.said


def test_a_server_that_fails_is_started_again(model: hydrart.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydrart.dashboard.listener import Connections

    closes = Connections._close_quiet_ones
    times: list[float] = []

    async def fail_at_first(self: Connections) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise ZeroDivisionError("oops")
        await closes(self)

    monkeypatch.setattr(Connections, "_close_quiet_ones", fail_at_first)
    with page(model) as running:
        until(lambda: len(times) == 2)
        status, body, _ = running.ask("/healthz")
        assert status == 200 and json.loads(body)["page_restarts"] == 1
        assert len(running.said) == 1 and running.said[0].startswith("the live page failed and starts again: ")
        assert "oops" in running.said[0]


def test_what_waits_is_sent_before_the_end(model: hydrart.Model) -> None:
    data: list[bytes] = []

    def ended(received: bytes) -> bool:
        data[:] = [received]
        if len(received) < 3000:
            return False
        if not sent:
            sent.append(True)
            running.dashboard.event(Event("ended", "the last words", 1.0, 2.0))
            running.dashboard.close()
        return b"the last words" in received

    sent: list[bool] = []
    with page(model) as running:
        running.read("/events", ended)
    assert b"the last words" in data[0]
