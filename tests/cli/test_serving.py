"""hydrart run --serve."""

import contextlib
import json
import os
import pty
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.cli import serving
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
        assert "0.0.0.0" not in address, "no phone can open that"
        shown = Page(int(address.rstrip("/").rpartition(":")[2]), hydrart.Governor(hydrart.load(weights).profile()))
        assert len(token) > 20 and shown.ask("/history")[0] == 401
        end = time.monotonic() + PATIENCE_S
        while shown.ask("/healthz", Authorization=f"Bearer {token}")[0] != 200:  # until the first frames
            assert time.monotonic() < end
            time.sleep(0.1)
        run.terminate()
        run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0


@contextlib.contextmanager
def serving_run(weights: Path, *options: str, **environment: str) -> Iterator[list[str]]:
    """The lines that a run with a page says until it serves."""
    command = [*PROGRAM, "run", "--source", "demo", "--loop", "--weights", str(weights), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as run:
        assert run.stderr is not None
        lines: list[str] = []
        for line in run.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith("live page: "):
                break
        try:
            yield lines
        finally:
            run.terminate()
            run.communicate(timeout=PATIENCE_S)
    assert run.returncode in (0, 130), "130 before the first frame"


def test_a_link_with_any_token_opens_the_page(weights: Path) -> None:
    with serving_run(weights, "--serve", "0", "--token", HYDRART_TOKEN="a&b#c+d %") as lines:
        link = lines[-1].removeprefix("live page: ")
        assert link.startswith("http://127.0.0.1:"), "a token on loopback, too"
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(link, timeout=PATIENCE_S) as page:
            assert page.status == 200 and "token" not in page.url
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(link.partition("?")[0], timeout=PATIENCE_S)


@pytest.mark.parametrize("journal", ["JOURNAL_STREAM", "NOTIFY_SOCKET"])
def test_a_fixed_token_stays_out_of_the_journal(journal: str, weights: Path, tmp_path: Path) -> None:
    environment = {"HYDRART_TOKEN": "sesame", journal: str(tmp_path / "nobody")}
    with serving_run(weights, "--serve", "0.0.0.0:0", **environment) as lines:
        assert not any("sesame" in line for line in lines)
        assert lines[-1].endswith("/ (with ?token= and what HYDRART_TOKEN holds)")
    with serving_run(weights, "--serve", "0.0.0.0:0", **{journal: str(tmp_path / "nobody")}) as lines:
        assert "?token=" in lines[-1], "one that was made for this run must stand somewhere"


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "ü" * 64])
def test_a_host_that_is_no_name_is_wrong_usage(host: str) -> None:
    done = call("run", "--source", "demo", "--serve", f"{host}:8080")
    assert done.exit_code == 2 and "is no address: write 8080 or 0.0.0.0:8080" in done.stderr


def test_a_token_without_a_page_is_wrong_usage() -> None:
    done = call("run", "--source", "demo", "--token")
    assert done.exit_code == 2 and "add --serve" in done.stderr


def test_the_page_is_up_while_the_source_is_waited_for(weights: Path) -> None:
    """A camera that comes late: the page shows what the run waits for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}/x.ts"
    command = [*PROGRAM, "run", address, "--wait", "600", "--weights", str(weights), "--serve", "0", "--k", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if line.startswith("live page: "))
        assert next(line for line in run.stderr if line.startswith("waiting: "))
        shown = Page(int(line.rstrip("/\n").rpartition(":")[2]), hydrart.Governor(hydrart.load(weights).profile()))
        status, body, _ = shown.ask("/healthz")
        health = json.loads(body)
        assert status == 503 and health["state"] == "opening" and "Connection refused" in health["problems"][0]
        history = json.loads(shown.ask("/history")[1])
        assert history["title"].startswith("http://***@127.0.0.1:") and history["latest"] is None
        assert "Connection refused" in history["reason"] and b"secret" not in body
        assert b'hydrart_state{state="opening"} 1.0' in shown.ask("/metrics")[1]
        status, body, _ = shown.ask("/control", "POST", {"max_temp_c": 60})
        assert status == 400 and body == b"the source is not open yet: try again when it is\n"
        shown.read("/updates", lambda data: b"event: alive" in data)
        run.terminate()
        run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130


def test_a_damaged_package_of_the_page_is_named(tmp_path: Path, weights: Path) -> None:
    """The import of a damaged package may raise anything."""
    (tmp_path / "simplejpeg").mkdir()
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hydrart.cli.main import main; main()"
    command = [PROGRAM[0], "-c", start, str(tmp_path), "run", "demo", "--weights", str(weights), "--serve", "0"]
    for code, reason in (
        ("raise ImportError('no _jpeg')", "no _jpeg"),
        ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size changed"),
        ("raise OSError", "OSError"),
        ("import hydrart_no_such_module_of_it", "install it with"),
    ):
        (tmp_path / "simplejpeg/__init__.py").write_text(code)
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("hydrart: --serve needs simplejpeg") and reason in done.stderr
        # the command may list all packages of the extra
        blamed, command_line, _ = done.stderr.partition("pip install")
        assert command_line and "aiohttp" not in blamed


def test_addresses_of_this_machine() -> None:
    found = serving.reachable("0.0.0.0")
    assert found and "0.0.0.0" not in found
    for address in found:
        with socket.socket() as one:
            one.bind((address, 0))  # only an address of this machine can be bound
    assert serving.reachable("127.0.0.1") == ["127.0.0.1"] and serving.reachable("robot.local") == ["robot.local"]
    assert all(":" in address for address in serving.reachable("::"))


@pytest.mark.parametrize(
    ("host", "token", "link"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:80/"),
        ("::1", None, "http://[::1]:80/"),
        ("robot", "a&b#c+d e/", "http://robot:80/?token=a%26b%23c%2Bd%20e%2F"),
    ],
)
def test_links(host: str, token: str | None, link: str) -> None:
    assert serving.link(host, 80, token) == link


def test_a_terminal_shows_a_code_that_holds_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    segno = pytest.importorskip("segno", reason="segno is not installed (extra: dashboard)")
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    main, child = pty.openpty()
    said: list[str] = []
    with open(child, "w", encoding="utf-8") as terminal, monkeypatch.context() as there:
        there.setattr("sys.__stderr__", terminal)
        serving._show_code("http://192.0.2.1:8080/?token=x", said.append)
    os.close(main)
    rows = []
    for line in said:
        match = re.fullmatch("\x1b\\[38;5;16;48;5;231m([█▀▄ ]+)\x1b\\[0m", line)
        assert match, "black on white, whatever the terminal's colours are"
        rows += [[int(half in dark) for half in match[1]] for dark in ("█▀", "█▄")]
    wanted = [list(row) for row in segno.make("http://192.0.2.1:8080/?token=x", error="l").matrix_iter(border=2)]
    assert rows[: len(wanted)] == wanted and not np.any(rows[len(wanted) :])
    for background in (0, 255):  # as a phone's camera sees it on a dark and on a light terminal
        seen = np.pad(np.kron(255 - 255 * np.array(rows), np.ones((8, 8))), 40, constant_values=background)
        assert cv2.QRCodeDetector().detectAndDecode(seen.astype(np.uint8))[0] == "http://192.0.2.1:8080/?token=x"
    said.clear()
    serving._show_code("http://192.0.2.1:8080/", said.append)
    assert not said, "nothing where stderr is no terminal"


def test_a_run_on_a_terminal_shows_the_code_above_its_panel(weights: Path) -> None:
    pytest.importorskip("segno", reason="segno is not installed (extra: dashboard)")
    main, child = pty.openpty()
    command = [
        *PROGRAM,
        "run",
        "--source",
        "demo",
        "--weights",
        str(weights),
        "--serve",
        "0.0.0.0:0",
        "--max-frames",
        "2",
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    output = b""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=child, env=environment):
        os.close(child)
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(main, 1 << 16):
                output += part
    os.close(main)
    lines = output.decode().partition("live page: ")[2].splitlines()
    code = [line for line in lines if re.search("█ ▄▄▄ █|█ ███ █", line)]
    assert len(code) == 2, "the upper edges of the three corners"
