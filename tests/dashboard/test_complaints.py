"""One line of a kind a minute."""

import logging

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: dashboard)")

from hydrart.dashboard import complaints


def test_a_line_of_a_kind_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("hydrart.dashboard.complaints.time.monotonic", lambda: now[0])
    said: list[str] = []
    complaining = complaints.Complaints(said.append)
    for i in range(1000):
        complaining.tell("a", f"a {i}")
        complaining.tell("b", f"b {i}")
    assert said == ["a 0", "b 0"]
    now[0] += 60
    complaining.tell("a", "a again")
    assert said[2:] == ["a again (999 more of this kind since the last line)"]


def test_what_aiohttp_logs_has_no_traceback_and_goes_nowhere_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from aiohttp.http_exceptions import BadHttpMessage

    said: list[str] = []
    logger = complaints.Complaints(said.append).logger()
    for error in (BadHttpMessage("no\nHTTP"), ZeroDivisionError("oops")):
        try:
            raise error
        except Exception:
            logger.exception("Error handling request from %s", "192.0.2.1")
    logger.debug("small")
    assert said == [
        "the live page refused a malformed request: BadHttpMessage: 400, message: no HTTP",
        "the live page could not answer a request: ZeroDivisionError: oops",
    ]
    assert not caplog.records and capfd.readouterr() == ("", "")
    assert logger not in logging.Logger.manager.loggerDict.values()
