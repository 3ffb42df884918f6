"""hydrart as a service: the unit, and what systemd is told."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import PATIENCE_S, PROGRAM, call, good, json_lines, sentence

from hydrart.cli.service import quoted
from hydrart.stream.notify import Notifier

SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
case "$2" in show) echo ActiveState=active; echo StatusText=running: demo; echo NRestarts=3;; esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without services, with a systemctl that notes what it is told: tests have no systemd."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.format(log=tmp_path / "calls"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_install_status_remove(home: Path) -> None:
    unit = home / "config/systemd/user/eye.service"
    assert json_lines(good("service", "status", "--name", "eye", "--json").stdout)[0]["installed"] is False
    arguments = ("run", "--camera", "0", "--fps", "15", "--source", 'rtsp://a%20b/"$x"')
    shown = good("service", "install", "--name", "eye", "--json", "--", *arguments)
    assert json.loads(shown.stdout) == {"unit": str(unit), "started": True}
    calls = (home / "calls").read_text().splitlines()
    assert calls == ["--user daemon-reload", "--user enable eye.service", "--user restart eye.service"]
    text = unit.read_text()
    assert "Type=notify" in text and "WatchdogSec=60" in text and "Restart=on-failure" in text
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert command.endswith('-m hydrart run --camera 0 --fps 15 --source "rtsp://a%%20b/\\"$$x\\""')
    (facts,) = json_lines(good("service", "status", "--name", "eye", "--json").stdout)
    assert (facts["active"], facts["status"], facts["restarts"]) == ("active", "running: demo", 3)
    assert "eye is active, restarted 3 times: running: demo" in good("service", "status", "--name", "eye").stdout
    good("service", "remove", "--name", "eye")
    assert not unit.exists() and "disable --now eye.service" in (home / "calls").read_text()
    assert "nothing to remove" in sentence("service", "remove", "--name", "eye")


def test_systemd_understands_the_unit(home: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd is not installed")
    good("service", "install", "--no-start", "--", "run", "--source", 'a "b" % $c \\ d', "--quiet")
    unit = home / "config/systemd/user/hydrart.service"
    done = subprocess.run([analyze, "--user", "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == [], done.stderr


def test_what_cannot_be_a_service(home: Path) -> None:
    assert call("service", "install", "--", "bench").exit_code == 2
    assert call("service", "install").exit_code == 2
    assert call("service", "install", "--name", "../x", "--", "run").exit_code == 2


def test_without_systemd_it_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    assert "systemctl is not here" in sentence("service", "install", "--", "run")


@pytest.mark.parametrize(
    ("text", "word"),
    [("plain-1.0", "plain-1.0"), ("two words", '"two words"'), ("", '""'), ("50%", "50%%"), ("$HOME", '"$$HOME"')],
)
def test_words_of_a_unit_file(text: str, word: str) -> None:
    assert quoted(text) == word


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_what_happens(abstract: bool, weights: Path, tmp_path: Path) -> None:
    address = f"@hydrart-test-{os.getpid()}" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0" + address[1:] if abstract else address)
        server.settimeout(PATIENCE_S)
        # slower than the watchdog: it hears of the loop between two frames, too
        command = [*PROGRAM, "run", "--source", "demo", "--weights", str(weights), "--fps", "0.2", "--quiet"]
        environment = os.environ | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as run:
            heard: list[str] = []
            while heard.count("WATCHDOG=1") < 5:
                heard.append(server.recv(4096).decode())
            run.terminate()
            while heard[-1] != "STOPPING=1":
                heard.append(server.recv(4096).decode())
            run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0 and heard[0] == "READY=1"
    states = [line.removeprefix("STATUS=").split(":")[0] for line in heard if line.startswith("STATUS=")]
    assert states == ["opening", "running", "ended"]


def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    silent = Notifier()
    silent.say(READY="1")
    silent.alive()
    silent.close()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    lost = Notifier()
    time.sleep(0.002)
    lost.alive()
    lost.close()


def test_a_32_bit_system_gets_a_sentence() -> None:
    program = "import sys; sys.maxsize = 2**31 - 1; sys.argv = ['setup.py', '--version']; exec(open('setup.py').read())"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("hydrart needs a 64-bit Python")
    assert len(done.stderr.splitlines()) == 1
