"""The live page's server: aiohttp in a thread of its own."""

import asyncio
import contextlib
import functools
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from hydrart.dashboard.feed import Feed
from hydrart.dashboard.guard import add_headers, guard
from hydrart.dashboard.metrics import Metrics
from hydrart.errors import SettingError
from hydrart.governor.governor import Governor
from hydrart.readings import Reading, View, shown
from hydrart.stream.events import Event
from hydrart.stream.result import Result

_FILES = Path(__file__).parent
_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_SILENT_S = 10.0  # seconds without a result; then the run is not healthy
_MOST_WATCHERS = 100
_BOUNDARY = "frame"
_COLDEST_C, _HOTTEST_C = 1, 150


class Dashboard:
    """Serves a stream's page until close().

    title: the source; heads: the ks to choose from; fixed_k: the one that it is fixed to, if it is; state, stats: the
    stream's; token: None on loopback only. Raises SettingError where the port is not free.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        *,
        title: str,
        heads: tuple[int, ...],
        governor: Governor,
        fixed_k: int | None,
        state: Callable[[], str],
        stats: Callable[[], dict[str, Any]],
    ) -> None:
        self.port = port
        self._host, self._token = host, token
        self._title, self._heads, self._governor, self._state = title, heads, governor, state
        self._fixed, self._limit = fixed_k, governor.max_temp_c
        self._changes: deque[Callable[[], None]] = deque()
        self._watching = 0
        self._loop = asyncio.new_event_loop()
        self._published = asyncio.Event()
        self.feed = Feed(self._publish)
        self._metrics = Metrics(stats, state, lambda: self.feed.latest)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="hydrart-dashboard", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error:
            self.feed.close()
            raise SettingError(
                f"the page cannot be served at {host}:{port} ({self._error.strerror}): give another address to --serve"
            )

    def result(self, result: Result, line: dict[str, Any]) -> None:
        """A result and its JSON line, from the loop's thread: only there the governor may be changed."""
        while self._changes:
            self._changes.popleft()()
        self.feed.result(result, line)

    def event(self, event: Event) -> None:
        """A change of state."""
        self.feed.event(event)

    def close(self) -> None:
        """End all connections and the threads."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self.feed.close()

    def _publish(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        """Wake all who wait; each takes the latest when its turn comes."""
        self._published.set()
        self._published = asyncio.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[guard(self._token)], client_max_size=4096)
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", functools.partial(self._file, "page.html"))
        for name in ("page.css", "page.js"):
            app.router.add_get(f"/{name}", functools.partial(self._file, name))
        app.router.add_get("/picture", self._picture)
        app.router.add_get("/events", self._events)
        app.router.add_get("/history", self._history)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics_text)
        app.router.add_post("/control", self._control)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            self._wake()
        except OSError as error:
            self._error = error
        finally:
            await runner.cleanup()

    async def _file(self, name: str, request: web.Request) -> web.StreamResponse:
        return web.Response(body=(_FILES / name).read_bytes(), content_type=_TYPES[name], charset="utf-8")

    async def _history(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.feed.history() | self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "title": self._title,
            "heads": self._heads,
            "state": self._state(),
            "fixed_k": self._fixed,
            "max_temp_c": self._limit,
            "readings": [_described(name, reading) for name, reading in shown(View.PAGE).items()],
        }

    async def _health(self, request: web.Request) -> web.StreamResponse:
        at = self.feed.result_at
        silent_s = None if at is None else round(time.monotonic() - at, 3)
        good = self._state() == "running" and silent_s is not None and silent_s < _SILENT_S
        body = {"healthy": good, "state": self._state(), "last_result_s": silent_s}
        return web.json_response(body, status=200 if good else 503)

    async def _metrics_text(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """{"k": 6} fixes k, null lets the governor choose; {"max_temp_c": 70} sets the limit, null removes it."""
        try:
            wanted = json.loads(await request.text())
        except ValueError:
            raise web.HTTPBadRequest(text="this is no JSON\n") from None
        if not isinstance(wanted, dict) or not wanted or not wanted.keys() <= {"k", "max_temp_c"}:
            raise web.HTTPBadRequest(text='send {"k": a number or null} or {"max_temp_c": a number or null}\n')
        k, limit = wanted.get("k"), wanted.get("max_temp_c")
        if k is not None and (type(k) is not int or k not in self._heads):
            raise web.HTTPBadRequest(text=f"k is one of {', '.join(map(str, self._heads))}, or null\n")
        if limit is not None and (type(limit) not in (int, float) or not _COLDEST_C <= limit <= _HOTTEST_C):
            raise web.HTTPBadRequest(text=f"max_temp_c lies between {_COLDEST_C} and {_HOTTEST_C}, or is null\n")
        if "k" in wanted:
            self._fixed = k
            self._changes.append(lambda: self._governor.fix(k))
        if "max_temp_c" in wanted:
            self._limit = limit
            self._changes.append(lambda: self._governor.limit_temperature(limit))
        return web.json_response(self._settings())

    @contextlib.asynccontextmanager
    async def _watch(self, request: web.Request, content_type: str) -> AsyncIterator[web.StreamResponse]:
        """A response that goes on for as long as its reader stays."""
        if self._watching >= _MOST_WATCHERS:
            raise web.HTTPServiceUnavailable(text="too many are watching\n")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        self._watching += 1
        self.feed.watch(1)
        try:
            with contextlib.suppress(ConnectionError):  # the reader left
                await response.prepare(request)
                yield response
        finally:
            self.feed.watch(-1)
            self._watching -= 1

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        """JPEG after JPEG; who is slow gets the latest when ready for it."""
        async with self._watch(request, f"multipart/x-mixed-replace; boundary={_BOUNDARY}") as response:
            await response.write(f"--{_BOUNDARY}\r\n".encode())
            shown = 0
            while not self._stop.is_set():
                number, data = self.feed.picture
                if number == shown:
                    await self._published.wait()
                    continue
                shown = number
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                # the browser shows a part once the next boundary has come
                await response.write(head.encode() + data + f"\r\n--{_BOUNDARY}\r\n".encode())
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, one JSON line each; who lags behind loses the oldest."""
        async with self._watch(request, "text/event-stream") as response:
            sent = self.feed.lines[-1][0] if self.feed.lines else 0
            while not self._stop.is_set():
                lines = [(number, data) for number, data in list(self.feed.lines) if number > sent]
                if not lines:
                    await self._published.wait()
                    continue
                sent = lines[-1][0]
                await response.write(b"".join(b"data: " + data + b"\n\n" for _, data in lines))
        return response


def _described(name: str, reading: Reading) -> dict[str, Any]:
    """How the page writes a reading: its value times factor, with decimals digits after the point, and the unit."""
    factor, unit = reading.people
    return {"name": name, "title": reading.title, "factor": factor, "unit": unit, "decimals": reading.decimals}
