"""Threads whose unexpected end is known."""

import json
import logging

import pytest

import hydrart
from hydrart.background import Background, failures
from tests.support.dashboards import page


def fail() -> None:
    raise SystemExit(3)


def test_a_thread_that_fails_is_known_while_its_owner_lives(caplog: pytest.LogCaptureFixture) -> None:
    done = Background("good", lambda: None)
    failing = Background("bad", fail)
    with caplog.at_level(logging.WARNING):
        for thread in (done, failing):
            thread.start()
            thread.join()
    assert failing.daemon and failures() == ["the thread hydrart-bad has ended: SystemExit"]
    assert caplog.messages == failures()
    del failing, thread
    assert failures() == []


def test_a_sensor_s_thread_that_ended_counts_for_the_health(
    model: hydrart.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reader() -> dict[str, float]:
        return {"temp_c": 50.0}

    with hydrart.Sensors(callback=reader) as sensors, page(model, sensors=sensors) as running:
        assert running.ask("/healthz")[0] == 200
        poller = sensors._pollers[-1]
        monkeypatch.setattr(poller, "called", None)  # an error outside the reader
        assert poller._thread is not None
        poller._thread.join()
        status, body, _ = running.ask("/healthz")
    assert status == 503
    assert json.loads(body)["problems"] == ["the thread hydrart-callback has ended: AttributeError"]
    assert failures() == [], "the sensors are closed"
