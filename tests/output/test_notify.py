"""What systemd hears."""

import socket
import time
from pathlib import Path

import pytest

from hydrart.output.notify import Notifier
from tests.support.commands import PATIENCE_S


def test_assignments_arrive_on_one_line_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.settimeout(PATIENCE_S)
        notifier = Notifier()
        notifier.say(STATUS="two\nlines", READY="1")
        assert server.recv(4096) == b"STATUS=two lines\nREADY=1"
        for _ in range(100):
            notifier.alive()  # a second at most: one is enough
        notifier.close()
        assert [server.recv(4096), server.recv(4096)] == [b"WATCHDOG=1", b"STOPPING=1"]


def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    silent = Notifier()
    assert not silent.heard
    silent.say(READY="1")
    silent.alive()
    silent.close()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    lost = Notifier()
    assert lost.heard, "systemd may come back"
    time.sleep(0.002)
    lost.alive()
    lost.close()
