"""What the live page serves, and what may be set."""

import io
import json
import socket
import time
from collections.abc import Callable

import pytest
from PIL import Image

from tests.support.commands import PATIENCE_S
from tests.support.dashboards import Page


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


def test_a_reader_that_does_not_read_holds_up_nobody(local: Page) -> None:
    with socket.create_connection(("127.0.0.1", local.port)) as slow:
        slow.sendall(b"GET /picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for _ in range(2):
            local.read("/picture", lambda data: data.count(b"image/jpeg") == 5)
