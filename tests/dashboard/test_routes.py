"""What the live page serves, and what may be set."""

import contextlib
import io
import json
import socket
import time
from collections.abc import Callable

import pytest
from PIL import Image

import hydrart
from tests.support.commands import PATIENCE_S
from tests.support.dashboards import Page, page

PAGES = (
    ("/", "text/html"),
    ("/page.css", "text/css"),
    ("/page.js", "text/javascript"),
    ("/chart.js", "text/javascript"),
)


def test_the_page_asks_no_other_host_and_no_other_may_frame_it(local: Page) -> None:
    for path, kind in PAGES:
        status, body, headers = local.ask(path)
        assert status == 200 and headers["Content-Type"].startswith(kind)
        assert b"http://" not in body and b"https://" not in body and b"//cdn" not in body
        policy = headers["Content-Security-Policy"]
        assert headers["X-Accel-Buffering"] == "no"
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
        b"[" * 4000,
        b'{"k":' * 600,
        b'{"max_temp_c": 1' + b"0" * 4000 + b"}",
    ],
)
def test_settings_that_make_no_sense(body: object, local: Page) -> None:
    status, said, _ = local.ask("/control", "POST", body)
    assert status == 400 and said.endswith(b"\n") and b"Traceback" not in said


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Type": "application/json; charset=klingon"}, b"{}"),
        ({"Content_Type": "application/json; charset=base64"}, b"{}"),
        ({"Content_Type": "application/json; charset=undefined"}, b"{}"),
        ({"Content_Encoding": "gzip"}, b"no gzip"),
        ({"Content_Encoding": "deflate"}, b"no deflate"),
        ({"Content_Encoding": "klingon"}, b"x"),
    ],
)
def test_bodies_that_cannot_be_decoded(
    headers: dict[str, str], body: bytes, local: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said, _ = local.ask("/control", "POST", body, **headers)
    assert status == 400 and b"Traceback" not in said and capfd.readouterr() == ("", "")


def test_a_body_that_never_comes(local: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.dashboard.routes._BODY_S", 0.2)
    head = b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    assert local.raw(head) == 408


def test_watchers_are_limited(local: Page) -> None:
    most = local.dashboard._routes._most // 2
    with contextlib.ExitStack() as held:
        for _ in range(most):
            reader = held.enter_context(socket.create_connection(("127.0.0.1", local.port), PATIENCE_S))
            reader.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reader.recv(12) == b"HTTP/1.1 200"
        assert local.raw(b"GET /picture HTTP/1.1\r\nHost: localhost\r\n\r\n") == 503
        assert local.ask("/healthz")[0] == 200
    end = time.monotonic() + PATIENCE_S
    while local.raw(b"GET /picture HTTP/1.1\r\nHost: localhost\r\n\r\n") != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_readers_who_left_are_not_counted_while_nothing_comes(model: hydrart.Model) -> None:
    with page(model) as running:
        watching = running.dashboard._routes._watching
        running.pause.set()
        for path in ("/picture", "/events"):
            with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as reader:
                reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert reader.recv(12) == b"HTTP/1.1 200" and watching.total() > 0
        end = time.monotonic() + PATIENCE_S
        while watching.total():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert running.ask("/events", "HEAD")[0] == running.ask("/picture", "HEAD")[0] == 405


def test_the_page_hears_what_is_in_force_and_that_the_server_lives(local: Page) -> None:
    data = local.read("/updates", lambda data: data.count(b"event: alive") == 2 and b"event: settings" in data)
    settings = json.loads(data.partition(b"event: settings\ndata: ")[2].partition(b"\n\n")[0])
    sign = json.loads(data.partition(b"event: alive\ndata: ")[2].partition(b"\n\n")[0])
    assert sign["state"] == "running" and 0 <= sign["last_result_s"] < 10
    assert settings["bounds"] == {"k": None, "max_temp_c": None} and len(settings["run"]) == 32

    def after_setting(data: bytes) -> bool:
        if not asked and b"event: settings" in data:
            asked.append(local.ask("/control", "POST", {"max_temp_c": 77})[0])
        return b'"max_temp_c": 77' in data

    asked: list[int] = []
    local.read("/updates", after_setting)
    assert asked == [200]
    assert local.ask("/control", "POST", {"max_temp_c": None})[0] == 200
    data = local.read("/events", lambda data: b": alive\n\n" in data and data.count(b"data: ") > 20)
    assert b"event: " not in data, "programs take every event for a JSON line"


def test_a_reader_that_does_not_read_holds_up_nobody(local: Page) -> None:
    with socket.create_connection(("127.0.0.1", local.port)) as slow:
        slow.sendall(b"GET /picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for _ in range(2):
            local.read("/picture", lambda data: data.count(b"image/jpeg") == 5)
