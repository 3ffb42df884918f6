"""hydrart as a service: the unit, and what systemd hears."""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hydrart.cli.service import quoted
from tests.support.commands import PATIENCE_S, PROGRAM, call, good, json_lines, sentence, unsealed

# what systemctl says of a unit, in the states that a service can be in
_PROPERTIES = ("ActiveState", "SubState", "Result", "ExecMainStatus", "StatusText", "NRestarts")
STATES = {
    "running": ("active", "running", "success", 0, "running: demo", 3),
    "killed": ("activating", "auto-restart", "signal", 9, "running: demo", 1),
    "gone": ("activating", "auto-restart", "exit-code", 1, "no camera", 2),
    "failed": ("failed", "failed", "exit-code", 78, "no weights", 0),
    "ended": ("inactive", "dead", "success", 0, "ended: no frames", 0),
    "new": ("inactive", "dead", "success", 0, "", 0),
}
SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
case "$2" in
show) cat {state};;
restart) grep -q =active {state};;
esac
"""
NO_BUS = "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2; exit 1\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without services, with a systemctl that notes its calls: test_service_vm.py has a real one."""
    be(tmp_path, "running")
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.format(log=tmp_path / "calls", state=tmp_path / "state"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def be(home: Path, state: str) -> None:
    """From now on systemctl tells of this state."""
    lines = (f"{name}={value}" for name, value in zip(_PROPERTIES, STATES[state], strict=True))
    (home / "state").write_text("\n".join(lines))


def test_install_status_remove(home: Path) -> None:
    unit = home / "config/systemd/user/eye.service"
    assert json_lines(good("service", "status", "--name", "eye", "--json").stdout)[0]["installed"] is False
    arguments = ("run", "--camera", "0", "--fps", "15", "--source", 'rtsp://a%20b/"$x"')
    shown = good("service", "install", "--name", "eye", "--json", "--", *arguments)
    assert unsealed(shown.stdout) == {"unit": str(unit), "started": True}
    calls = (home / "calls").read_text().splitlines()
    told = ["show --property=Version", "daemon-reload", "enable eye.service", "restart eye.service"]
    assert calls == [f"--user {what}" for what in told]
    text = unit.read_text()
    assert "Type=notify" in text and "WatchdogSec=60" in text and "Restart=on-failure" in text
    assert "RestartPreventExitStatus=2 78\n" in text and stat.S_IMODE(unit.stat().st_mode) == 0o600
    assert '\nDescription=hydrart run --camera 0 --fps 15 --source rtsp://a%%20b/"$x"\n' in text
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert command.endswith('-m hydrart run --camera 0 --fps 15 --source "rtsp://a%%20b/\\"$$x\\""')
    (facts,) = json_lines(good("service", "status", "--name", "eye", "--json").stdout)
    assert (facts["active"], facts["status"], facts["restarts"]) == ("active", "running: demo", 3)
    link = unit.parent / "default.target.wants/eye.service"
    link.parent.mkdir()
    link.symlink_to(unit)
    good("service", "remove", "--name", "eye")
    assert not unit.exists() and not link.is_symlink()
    calls = (home / "calls").read_text().splitlines()[-3:]
    assert calls == ["--user disable --now eye.service", "--user daemon-reload", "--user reset-failed eye.service"]
    assert "nothing to remove" in sentence("service", "remove", "--name", "eye")


@pytest.mark.parametrize("form", ["--source {}", "--source={}", "{}"])
def test_a_password_is_not_in_the_command_line(home: Path, form: str) -> None:
    url = "rtsp://me:se/cr?et@cam/1"
    options = form.format(url).split()
    good("service", "install", "--no-start", "--", "run", *options, "--fps", "5")
    unit, source = home / "config/systemd/user/hydrart.service", home / "config/hydrart/hydrart.source"
    assert (
        "se/cr" not in unit.read_text() and f"@{source}" in unit.read_text() and "rtsp://***@cam/1" in unit.read_text()
    )
    assert source.read_text() == f"{url}\n" and stat.S_IMODE(source.stat().st_mode) == 0o600
    good("service", "remove")
    assert not source.exists()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("running", "active (running), restarted 3 times: running: demo"),
        ("killed", "activating (auto-restart), restarted once: ended by signal"),
        ("gone", "activating (auto-restart), restarted 2 times: exit code 1: no camera"),
        ("failed", "failed, restarted 0 times: exit code 78: no weights"),
        ("ended", "inactive (dead), restarted 0 times: ended: no frames"),
        ("new", "inactive (dead), restarted 0 times: no status"),
    ],
)
def test_each_state_is_told(home: Path, state: str, told: str) -> None:
    good("service", "install", "--no-start", "--", "run")
    be(home, state)
    assert good("service", "status").stdout == f"hydrart is {told}\n"
    (facts,) = json_lines(good("service", "status", "--json").stdout)
    assert facts["exit_code"] == {"failed": 78, "gone": 1}.get(state)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("failed", "did not start, exit code 78: no weights; see journalctl --user-unit hydrart"),
        ("gone", "did not start, exit code 1: no camera; systemd goes on trying"),
    ],
)
def test_what_does_not_start_is_told(home: Path, state: str, told: str) -> None:
    be(home, state)
    assert told in sentence("service", "install", "--", "run")


def test_what_hydrart_did_not_write_stays(home: Path) -> None:
    unit = home / "config/systemd/user/dbus.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for command in (("install", "--name", "dbus", "--", "run"), ("remove", "--name", "dbus")):
        assert "was not written by hydrart" in sentence("service", *command)
    assert unit.exists() and not (home / "calls").exists()


def test_without_a_manager_nothing_is_written(home: Path) -> None:
    (home / "bin/systemctl").write_text(NO_BUS)
    unit = home / "config/systemd/user/hydrart.service"
    assert re.search("no systemd runs for|installed but does not run", sentence("service", "install", "--", "run"))
    assert not unit.exists()
    good("service", "install", "--no-start", "--", "run")
    assert re.search("no systemd runs for|installed but does not run", sentence("service", "status"))
    good("service", "remove")
    assert not unit.exists()


def test_systemd_understands_the_unit(home: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd is not installed")
    good("service", "install", "--no-start", "--", "run", "--source", 'a "b" % $c \\ d', "--quiet")
    unit = home / "config/systemd/user/hydrart.service"
    done = subprocess.run([analyze, "--user", "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == [], done.stderr


@pytest.mark.parametrize("end", ["\\", "\\\\", "\\\\\\", "x"])
def test_a_backslash_at_the_end_swallows_no_line(end: str, home: Path) -> None:
    good("service", "install", "--no-start", "--", "run", "--source", f"clip{end}")
    text = (home / "config/systemd/user/hydrart.service").read_text()
    whole = re.sub(r"(?<!\\)((?:\\\\)*)\\\n", r"\1 ", text)  # as systemd.syntax(7) joins lines
    assert whole == text and "\nStartLimitIntervalSec=0\n" in text and "\nExecStart=" in text


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for command in (("install", "--no-start", "--", "run"), ("status",), ("remove",)):
        assert "this user has no home folder: set HOME" in sentence("service", *command)


def test_what_cannot_be_a_service(home: Path) -> None:
    assert call("service", "install", "--", "bench").exit_code == 2
    assert call("service", "install").exit_code == 2
    assert call("service", "install", "--name", "../x", "--", "run").exit_code == 2
    wrong = call("service", "install", "--", "run", "--fps", "many")
    assert wrong.exit_code == 2 and "many" in wrong.stderr
    assert "UTF-8" in sentence("service", "install", "--", "run", "--log", "\udcff")
    assert not (home / "config").exists()


def test_without_systemd_it_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    assert "systemctl is not installed" in sentence("service", "install", "--", "run")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain-1.0", "plain-1.0"),
        ("two words", '"two words"'),
        ("", '""'),
        ("50%", "50%%"),
        ("$HOME", '"$$HOME"'),
        ("\\n\n\xa0é", '"\\\\n\\x0a\\xc2\\xa0é"'),
    ],
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
                heard += server.recv(4096).decode().splitlines()
            run.terminate()
            while heard[-1] != "STOPPING=1":
                heard += server.recv(4096).decode().splitlines()
            run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    states = [line.removeprefix("STATUS=").split(":")[0] for line in heard if line.startswith("STATUS=")]
    assert states == ["getting ready", "opening", "running", "ended"]
    said = [line.split(":")[0] for line in heard]
    assert said.count("READY=1") == 1 and said.index("READY=1") == said.index("STATUS=running") + 1


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        (("--weights", "/nowhere"), 78, "/nowhere does not exist: check the path"),
        (("--source", "/nowhere"), 1, "/nowhere does not exist and no file matches it: check the path"),
        (("--camera", "0"), 2, "--camera and --source exclude each other"),
    ],
)
def test_systemd_is_told_why_it_ends(
    options: tuple[str, ...], code: int, status: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        source = () if "--source" in options else ("--source", "demo")
        result = call("run", *source, "--weights", weights, *options)
        assert result.exit_code == code, result.stderr
        server.setblocking(False)
        heard = [server.recv(4096).decode()]
        while heard[-1] != f"STATUS={status}":
            heard.append(server.recv(4096).decode())
    assert "READY=1" not in heard


def test_a_32_bit_system_gets_a_sentence() -> None:
    program = "import sys; sys.maxsize = 2**31 - 1; sys.argv = ['setup.py', '--version']; exec(open('setup.py').read())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("hydrart needs a 64-bit Python")
    assert len(done.stderr.splitlines()) == 1
