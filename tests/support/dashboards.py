"""A running live page, and requests to it."""

import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import hydrart
from tests.support.commands import PATIENCE_S

TOKEN = "a token"


@dataclass
class Page:
    """A running page and its governor. said: its sentences for people; dashboard: the page itself.

    pause: an event; while it is set, the stream has no frames.
    """

    port: int
    governor: hydrart.Governor
    said: list[str] = field(default_factory=list)
    dashboard: Any = None
    pause: threading.Event = field(default_factory=threading.Event)

    @property
    def complaints(self) -> Any:
        """Return the page's receiver of sentences."""
        return self.dashboard._complaints

    def latest_frame(self) -> int:
        """Return the number of the last answered frame."""
        frame: int = self.dashboard.feed.latest.frame
        return frame

    def ask(
        self, path: str, method: str = "GET", body: object = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Return an answer's status, body and headers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"} | sent)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def raw(self, request: bytes) -> int:
        """Return the status of the answer to these bytes; 0 if the connection closes without an answer."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(request)
            answer = connection.recv(1 << 16)
        return int(answer.split()[1]) if answer else 0

    def read(self, path: str, until: Callable[[bytes], bool]) -> bytes:
        """Return the start of an endless answer."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            data = b""
            while not until(data):
                part = connection.recv(1 << 16)
                assert part, data[-500:]
                data += part
            return data


@contextmanager
def page(
    model: hydrart.Model,
    token: str | None = None,
    host: str = "127.0.0.1",
    sensors: hydrart.Sensors | None = None,
    port: int = 0,
    **more: Any,
) -> Iterator[Page]:
    """Serve a page of a stream of noise at 50 frames per second. more: further arguments of Dashboard."""
    for package in ("aiohttp", "prometheus_client", "simplejpeg"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra: dashboard)")
    from hydrart.dashboard.server import Dashboard

    rng = np.random.default_rng(0)

    def frames() -> Iterator[Any]:
        for i in itertools.count():
            while pause.is_set() and not stop.is_set():
                time.sleep(0.01)
            yield rng.integers(0, 256, (48, 64, 3), np.uint8), i

    governor = hydrart.Governor(model.profile(), fps=50)
    stop, pause = threading.Event(), threading.Event()
    said: list[str] = []
    facts: dict[str, Any] = {"title": "noise", "heads": model.heads, "seen": model.seen, "say": said.append}
    dashboard = Dashboard(host, port, token, **facts | more)
    settings: dict[str, Any] = {"governor": governor, "sensors": sensors, "keep_frame": True}
    with hydrart.Stream(frames(), model, fps=50, on_event=dashboard.event, **settings) as stream:
        dashboard.begin("noise", governor, stream.stats)

        def loop() -> None:
            for result in stream:
                dashboard.result(result, result.as_dict())
                if stop.is_set():
                    break

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            while dashboard.feed.latest is None:
                time.sleep(0.01)
            yield Page(dashboard.port, governor, said, dashboard, pause)
        finally:
            stop.set()
            thread.join()
            dashboard.close()
