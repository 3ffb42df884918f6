"""hydrart run --serve."""

import subprocess
from pathlib import Path

import pytest

import hydrart
from tests.support.commands import PATIENCE_S, PROGRAM, call
from tests.support.dashboards import Page

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: dashboard)")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (extra: dashboard)")
pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")


def test_serving_from_the_command_line(weights: Path) -> None:
    command = [*PROGRAM, "run", "--source", "demo", "--loop", "--weights", str(weights), "--serve", "0", "--quiet"]
    assert call("run", "--serve", "here").exit_code == 2
    command.remove("--quiet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if line.startswith("live page: "))
        port = int(line.rstrip("/\n").rpartition(":")[2])
        assert "127.0.0.1" in line and "token" not in line
        shown = Page(port, hydrart.Governor(hydrart.load(weights).profile()))
        data = shown.read("/events", lambda data: b'"label"' in data)
        assert b"data: " in data
        taken = subprocess.run(
            [*command[:-1], str(port)], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
        )
        assert taken.returncode == 1 and "cannot be served" in taken.stderr.splitlines()[-1]
        run.terminate()
        run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0


def test_beyond_loopback_a_token_is_made(weights: Path) -> None:
    command = [*PROGRAM, "run", "--source", "demo", "--loop", "--weights", str(weights), "--serve", "0.0.0.0:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if line.startswith("live page: "))
        address, _, token = line.strip().partition("?token=")
        shown = Page(int(address.rstrip("/").rpartition(":")[2]), hydrart.Governor(hydrart.load(weights).profile()))
        assert len(token) > 20 and shown.ask("/history")[0] == 401
        assert shown.ask("/history", Authorization=f"Bearer {token}")[0] == 200
        run.terminate()
        run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
