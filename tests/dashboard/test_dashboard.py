"""The live page: what it serves, to whom, who may change what, and how it looks in a real browser."""

import asyncio
import io
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hydrart
from hydrart.dashboard.feed import small
from tests.support.commands import PATIENCE_S, PROGRAM, call
from tests.support.dashboards import Page, page

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: dashboard)")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (extra: dashboard)")
pytest.importorskip("simplejpeg", reason="simplejpeg is not installed (extra: dashboard)")

TOKEN = "a token"


@pytest.fixture(scope="module")
def local(model: hydrart.Model) -> Iterator[Page]:
    """On loopback, without a token."""
    with page(model) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(model: hydrart.Model) -> Iterator[Page]:
    """As on a network: with a token."""
    with page(model, TOKEN) as running:
        yield running


def test_the_page_asks_no_other_host_and_no_other_may_frame_it(local: Page) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        status, body, headers = local.ask(path)
        assert status == 200 and headers["Content-Type"].startswith(kind)
        assert b"http://" not in body and b"https://" not in body and b"//cdn" not in body
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert local.ask("/nothing")[0] == 404


def test_pictures_are_jpeg_and_go_on(local: Page) -> None:
    data = local.read("/picture", lambda data: data.count(b"Content-Type: image/jpeg") == 3)
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b"multipart/x-mixed-replace; boundary=frame" in head
    pictures = []
    while b"image/jpeg" in rest:
        rest = rest[rest.index(b"Content-Length: ") + 16 :]
        length, _, rest = rest.partition(b"\r\n\r\n")
        if len(rest) < int(length):
            break
        pictures.append(rest[: int(length)])
    assert len(set(pictures)) == len(pictures) >= 2
    with Image.open(io.BytesIO(pictures[0])) as image:
        assert image.size == (64, 48) and image.format == "JPEG"


def test_events_are_json_lines(local: Page) -> None:
    data = local.read("/events", lambda data: data.count(b"data: ") > 20)
    assert b"text/event-stream" in data
    body = data[data.index(b"data: ") :]
    events = [part for part in body.split(b"\r\n") if part.startswith(b"data: ")]
    lines = [
        json.loads(line.removeprefix("data: ")) for event in events for line in event.decode().split("\n\n") if line
    ]
    numbers = [line["frame"] for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 3
    assert {"label", "k", "age_ms", "why"} <= lines[0].keys()


def test_metrics_and_health(local: Page) -> None:
    status, body, headers = local.ask("/metrics")
    from prometheus_client.parser import text_string_to_metric_families

    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert families["hydrart_processed"].samples[0].value > 0 and families["hydrart_processed"].type == "counter"
    assert {sample.labels["stage"] for sample in families["hydrart_latency_seconds"].samples} == {
        "capture",
        "preprocess",
        "infer",
        "age",
    }
    states = {sample.labels["state"]: sample.value for sample in families["hydrart_state"].samples}
    assert states["running"] == 1 and sum(states.values()) == 1
    assert "hydrart_temperature_celsius" not in families, "unknown is not 0"
    status, body, _ = local.ask("/healthz")
    health = json.loads(body)
    assert status == 200 and health["healthy"] and health["state"] == "running" and health["last_result_s"] < 10


def test_k_and_the_temperature_are_set_and_given_back(local: Page) -> None:
    def wait(true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    def reason() -> str:
        data = local.read("/events", lambda data: b"\n\n" in data.partition(b"data: ")[2])
        return str(json.loads(data[data.index(b"data: ") + 6 :].split(b"\n\n")[0])["reason"])

    status, body, _ = local.ask("/control", "POST", {"k": 4, "max_temp_c": 61.5})
    settings = json.loads(body)
    assert status == 200 and (settings["fixed_k"], settings["max_temp_c"]) == (4, 61.5)
    wait(lambda: reason() == "fixed")
    wait(lambda: local.governor.max_temp_c == 61.5)
    status, body, _ = local.ask("/control", "POST", {"k": None, "max_temp_c": None})
    assert status == 200 and json.loads(body)["fixed_k"] is None
    wait(lambda: reason() != "fixed" and local.governor.max_temp_c is None)


@pytest.mark.parametrize(
    "body",
    [
        {"k": 13},
        {"k": 4.0},
        {"k": True},
        {"k": "4"},
        {"max_temp_c": 0},
        {"max_temp_c": float("nan")},
        {"max_temp_c": [1]},
        {"x": 1},
        {},
        [],
        None,
        b"{",
        b"\xff",
    ],
)
def test_settings_that_make_no_sense(body: object, local: Page) -> None:
    status, said, _ = local.ask("/control", "POST", body)
    assert status == 400 and said.endswith(b"\n") and b"Traceback" not in said


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_change_nothing(headers: dict[str, str], status: int, local: Page) -> None:
    headers = {name: value.format(port=local.port) for name, value in headers.items()}
    assert local.ask("/control", "POST", {"k": None}, **headers)[0] == status


def test_a_name_that_was_made_to_point_here_does_not_get_in(local: Page) -> None:
    for path in ("/", "/picture", "/history"):
        assert local.ask(path, Host=f"evil.example:{local.port}")[0] == 403
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert local.ask("/history", Host=f"{host}:{local.port}")[0] == 200


def test_elsewhere_everything_needs_the_token(guarded: Page) -> None:
    for path in ("/", "/page.js", "/picture", "/events", "/history", "/healthz", "/metrics"):
        assert guarded.ask(path)[0] == 401
        assert guarded.ask(path, Authorization="Bearer wrong")[0] == 401
    assert guarded.ask("/control", "POST", {"k": 4})[0] == 401
    assert guarded.ask("/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert guarded.ask("/history?token=a%20token")[0] == 200
    status, _, headers = guarded.ask("/?token=a%20token")
    assert status == 302 and headers["Location"] == "/", "the address that stays in the browser has no token"
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert guarded.ask("/", Cookie=cookie.split(";")[0])[0] == 200
    assert (
        guarded.ask("/control", "POST", {"k": None}, Cookie=cookie.split(";")[0], Origin="http://evil.example")[0]
        == 403
    )
    assert guarded.ask("/control", "POST", {"k": None}, Cookie=cookie.split(";")[0])[0] == 200


def test_a_reader_that_does_not_read_holds_up_nobody(local: Page) -> None:
    with socket.create_connection(("127.0.0.1", local.port)) as slow:
        slow.sendall(b"GET /picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for _ in range(2):
            local.read("/picture", lambda data: data.count(b"image/jpeg") == 5)


def test_pictures_of_any_width_fit_the_page() -> None:
    wide = np.zeros((1080, 1920, 3), np.uint8)[:, ::-1]
    assert small(wide).shape == (360, 640, 3) and small(wide).flags.c_contiguous
    assert small(np.zeros((5, 640, 3), np.uint8)).shape == (5, 640, 3)


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


@pytest.mark.slow
def test_the_page_in_a_real_browser(local: Page, tmp_path: Path) -> None:
    from tests.support import chromium

    if not chromium.program():
        pytest.skip("no Chromium is installed")

    async def visit() -> None:
        async with chromium.browser(tmp_path) as tab:
            await tab.open(f"http://localhost:{local.port}/")
            await tab.until("document.getElementById('name')?.textContent.length > 0")
            await tab.until("typeof lastK !== 'undefined' && lastK !== null")  # its script may come later
            await tab.until("document.getElementById('picture').naturalWidth === 64")
            await tab.until("document.querySelector('canvas').width > 100")
            drawn = (
                "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 300, 100).data].some(v => v)"
            )
            await tab.until(drawn)
            await tab.evaluate("document.getElementById('fix').value = '5'")
            await tab.evaluate("document.querySelector('#controls button').click()")
            await tab.until("document.getElementById('k').textContent === '5'")
            await tab.until("document.getElementById('why').textContent === 'fixed'")
            await tab.until("document.getElementById('switches').textContent.includes('5')")
            light, dark = [await tab.look(1000, 800, dark) for dark in (False, True)]
            corners = []
            for png in (light, dark):
                with Image.open(io.BytesIO(png)) as image:
                    corners.append(sum(image.convert("RGB").getpixel((2, image.height - 3))))  # type: ignore[arg-type]
            assert corners[0] > 600 and corners[1] < 150, "light and dark"
            await tab.look(360, 740, dark=True)
            assert await tab.evaluate("document.documentElement.scrollWidth") <= 360, "a phone need not scroll sideways"
            await tab.evaluate("document.getElementById('fix').value = ''")
            await tab.evaluate("document.querySelector('#controls button').click()")
            await tab.until("document.getElementById('why').textContent !== 'fixed'")
            hosts = {url.split("/")[2] for url in tab.requests if not url.startswith("data:")}
            assert hosts == {f"localhost:{local.port}"} and tab.errors == []

    asyncio.run(visit())
