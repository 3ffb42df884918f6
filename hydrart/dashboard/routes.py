"""Answer the requests to each address of the live page's server."""

import asyncio
import contextlib
import functools
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from hydrart.background import failures
from hydrart.dashboard.controls import Controls
from hydrart.dashboard.feed import Feed
from hydrart.dashboard.metrics import Metrics
from hydrart.errors import SettingError
from hydrart.readings import Reading, View, shown

_FILES = Path(__file__).parent
_SCRIPT = "text/javascript"
_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": _SCRIPT, "chart.js": _SCRIPT}
_SILENT_S = 10.0  # a run without a result for this many seconds is not healthy
_BOUNDARY = "frame"
_ALIVE_S = 1.0  # seconds between two signs of life in the events
_BODY_S = 5.0  # time limit of a request's body, in seconds
_UNREAD_S = 30.0  # time limit of a reader that does not read, in seconds


class Routes:
    """The handlers of all addresses.

    - title: the source.
    - most: largest number of readers of pictures and events; one client may have half of it.
    - restarts: number of restarts of the server.
    """

    def __init__(
        self,
        feed: Feed,
        controls: Controls,
        metrics: Metrics,
        *,
        title: str,
        most: int,
    ) -> None:
        self._feed, self._controls, self._metrics = feed, controls, metrics
        self.title, self._most = title, most
        self._run_id = uuid.uuid4().hex  # open pages detect a new run by this value
        self._watching: Counter[str | None] = Counter()
        self._ended = False
        self._published = asyncio.Event()
        self.restarts = 0

    def add_to(self, app: web.Application) -> None:
        """Add a handler for each address."""
        self._ended = False
        app.router.add_get("/", functools.partial(self._file, "page.html"))
        for name in ("page.css", "page.js", "chart.js"):
            app.router.add_get(f"/{name}", functools.partial(self._file, name))
        # an answer to HEAD would send nothing and never end
        app.router.add_get("/picture", self._picture, allow_head=False)
        app.router.add_get("/events", functools.partial(self._events, False), allow_head=False)
        app.router.add_get("/updates", functools.partial(self._events, True), allow_head=False)
        app.router.add_get("/history", self._history)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics_text)
        app.router.add_post("/control", self._control)

    def wake(self) -> None:
        """Wake all waiting readers. Each takes the latest content when its turn comes."""
        self._published.set()
        self._published = asyncio.Event()

    def end(self) -> None:
        """End the endless answers."""
        self._ended = True
        self.wake()

    async def _file(self, name: str, request: web.Request) -> web.StreamResponse:
        return web.Response(body=(_FILES / name).read_bytes(), content_type=_TYPES[name], charset="utf-8")

    async def _history(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._feed.history() | self._settings() | self._sign_of_life())

    def _settings(self) -> dict[str, Any]:
        return {
            "run": self._run_id,
            "title": self.title,
            **self._controls.settings(),
            "readings": [_described(name, reading) for name, reading in shown(View.PAGE).items()],
        }

    def _sign_of_life(self) -> dict[str, Any]:
        silent_s, event = self._feed.silent_s, self._feed.state
        last_result_s = None if silent_s is None else round(silent_s, 3)
        return {"state": event.state, "reason": event.reason, "last_result_s": last_result_s}

    async def _health(self, request: web.Request) -> web.StreamResponse:
        life = self._sign_of_life()
        silent_s = life["last_result_s"]
        problems = []
        if life["state"] != "running":
            problems.append(f"the source is {life['state']}: {life['reason']}")
        if silent_s is None or silent_s >= _SILENT_S:
            problems.append("no frame was answered yet" if silent_s is None else f"no answer for {silent_s:.0f} s")
        if self._feed.trouble:
            problems.append(f"a picture cannot be encoded: {self._feed.trouble}")
        problems += failures()
        body = {"healthy": not problems, **life, "problems": problems, "page_restarts": self.restarts}
        return web.json_response(body, status=503 if problems else 200)

    async def _metrics_text(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """Change settings: {"k": 6} fixes k, {"max_temp_c": 70} sets the limit, and null undoes either."""
        try:
            async with asyncio.timeout(_BODY_S):
                text = await request.text()
            wanted = json.loads(text)
        except web.HTTPException:
            raise
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the body did not come\n") from None
        except Exception:  # unknown charset, wrong gzip, deep nesting
            raise web.HTTPBadRequest(text="this is no JSON\n") from None
        try:
            self._controls.want(wanted)
        except SettingError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        self.wake()  # every open page then shows the settings in force
        return web.json_response(self._settings())

    @contextlib.asynccontextmanager
    async def _watch(self, request: web.Request, content_type: str) -> AsyncIterator[web.StreamResponse]:
        """A response without an end. It lasts until its reader leaves or stops reading."""
        client = request.remote
        if self._watching.total() >= self._most or self._watching[client] >= max(2, self._most // 2):
            raise web.HTTPServiceUnavailable(text="too many are watching: close a page\n")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        self._watching[client] += 1
        self._feed.watch(1)
        try:
            # the reader has left or does not read
            with contextlib.suppress(ConnectionError, TimeoutError):
                await response.prepare(request)
                yield response
        finally:
            self._feed.watch(-1)
            self._watching[client] -= 1
            self._watching += Counter()  # drops counts of 0
        if not self._ended and request.transport is not None:
            request.transport.abort()  # drop the unread data

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        """Send one JPEG after another. A slow reader gets the latest one when it is ready for it."""
        async with self._watch(request, f"multipart/x-mixed-replace; boundary={_BOUNDARY}") as response:
            await _send(response, f"--{_BOUNDARY}\r\n".encode())
            shown = 0
            while not self._ended:
                number, data = self._feed.picture
                if number == shown:
                    await _wait(self._published)
                    if request.transport is None:  # the reader left before the next picture
                        break
                    continue
                shown = number
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                # a browser shows a part only after the next boundary
                await _send(response, head.encode() + data + f"\r\n--{_BOUNDARY}\r\n".encode())
        return response

    async def _events(self, for_page: bool, request: web.Request) -> web.StreamResponse:
        """Send JSON lines as server-sent events, and a sign of life once a second. A slow reader loses old lines.

        for_page: whether to send the events `settings`, after each change, and `alive`. Other readers take each event
        for a line, so their sign of life is a comment.
        """
        loop = asyncio.get_running_loop()
        async with self._watch(request, "text/event-stream") as response:
            sent = self._feed.lines[-1][0] if self._feed.lines else 0
            told: dict[str, Any] = {}
            alive_at = -_ALIVE_S
            while True:
                ended, published = self._ended, self._published
                lines = [data for number, data in list(self._feed.lines) if number > sent]
                if lines:
                    sent = self._feed.lines[-1][0]
                    await _send(response, b"".join(b"data: " + data + b"\n\n" for data in lines))
                if for_page and (settings := self._settings()) != told:
                    told = settings
                    await _send(response, _named("settings", settings))
                if ended:
                    break
                if loop.time() - alive_at >= _ALIVE_S:
                    alive_at = loop.time()
                    sign = _named("alive", self._sign_of_life()) if for_page else b": alive\n\n"
                    await _send(response, sign)
                await _wait(published)
        return response


async def _wait(published: asyncio.Event) -> None:
    """Wait for the event, or for a second."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ALIVE_S):
            await published.wait()


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Send a part of an endless answer. Raises TimeoutError if the reader does not read."""
    async with asyncio.timeout(_UNREAD_S):
        await response.write(data)


def _named(name: str, entry: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(entry)}\n\n".encode()


def _described(name: str, reading: Reading) -> dict[str, Any]:
    """Return the page's format of a reading: value times `factor`, with `decimals` decimal places, and the unit."""
    factor, unit = reading.people
    return {"name": name, "title": reading.title, "factor": factor, "unit": unit, "decimals": reading.decimals}
