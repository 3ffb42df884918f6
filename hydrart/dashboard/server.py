"""The live page's server: aiohttp in a separate thread."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from hydrart.background import Background
from hydrart.dashboard.complaints import Complaints, on_one_line
from hydrart.dashboard.controls import Bounds, Controls
from hydrart.dashboard.feed import Feed, Seen
from hydrart.dashboard.guard import Guard
from hydrart.dashboard.listener import Connections, listen
from hydrart.dashboard.metrics import Metrics
from hydrart.dashboard.routes import Routes
from hydrart.governor.governor import Governor
from hydrart.stream.events import Event
from hydrart.stream.result import Result

_LARGEST_BODY = 4096  # limit of a request's body, in bytes
_AGAIN_S = 1.0  # seconds between a failure and the restart of the server


class Dashboard:
    """Serve a stream's page until close().

    - host, port: the address. Port 0 takes any free port.
    - token: each request needs it. None is possible only on loopback.
    - title: the source. heads: the ks of the network.
    - bounds: the user's bounds of the run.
    - seen: the part of a picture that the network sees (see Feed).
    - build: names and values for /metrics, for example the version.
    - on_event: called with an Event, in the loop's thread, if a setting of the page fails.
    - say: called with sentences for people, from any thread.

    Until begin() the source is still opening, and no setting can be changed. Raises SettingError if the address cannot
    be served.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        *,
        title: str,
        heads: tuple[int, ...],
        bounds: Bounds | None = None,
        seen: Seen | None = None,
        build: Mapping[str, str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._complaints = Complaints(say or _ignore)
        self._on_event = on_event or _ignore
        self._sockets = listen(host, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._guard = Guard(token)
        self._controls = Controls(heads, bounds or Bounds())
        self._connections = Connections(self._complaints)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._complain)
        self._stop = asyncio.Event()
        self.feed = Feed(self._publish, seen=seen, failed=self._encoding_failed)
        self._metrics = Metrics(self.feed, build or {})
        self._routes = Routes(self.feed, self._controls, self._metrics, title=title, most=self._connections.most // 2)
        self._thread = Background("dashboard", self._run)
        self._thread.start()

    def begin(self, title: str, governor: Governor, stats: Callable[[], dict[str, Any]]) -> None:
        """Show the stream, now that its source is open. stats: of the stream."""
        self._metrics.stats = stats
        self._controls.begin(governor)
        self._routes.title = title
        self._publish()

    def result(self, result: Result, line: dict[str, Any]) -> None:
        """Take a result and its JSON line, in the loop's thread. Only that thread may change the governor."""
        failure = self._controls.apply()
        if failure is not None:
            self._on_event(Event(self.feed.state.state, failure, time.monotonic(), time.time()))
        self.feed.result(result, line)

    def event(self, event: Event) -> None:
        """Take a change of state."""
        self.feed.event(event)

    def close(self) -> None:
        """Send the last results, and end all connections and the threads."""
        if self._thread.is_alive():
            self.feed.close()
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _publish(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._routes.wake)

    def _encoding_failed(self, error: Exception) -> None:
        self._complaints.tell("encoding", f"the live page keeps its last picture: {on_one_line(error)}")

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report asyncio's error about a connection."""
        error = context.get("exception")
        why = on_one_line(error) if error is not None else context["message"]
        self._complaints.tell(f"asyncio: {context['message']}", f"the live page lost a connection: {why}")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            while not self._stop.is_set():
                try:
                    self._loop.run_until_complete(self._serve())
                except Exception as error:  # the run goes on, and the page restarts
                    self._routes.restarts += 1
                    self._complaints.tell("server", f"the live page failed and starts again: {on_one_line(error)}")
                    time.sleep(_AGAIN_S)
        finally:
            for one in self._sockets:
                one.close()
            self._loop.close()

    async def _serve(self) -> None:
        middlewares = [self._connections.limit, self._guard.middleware]
        app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(self._guard.add_headers)
        self._routes.add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, logger=self._complaints.logger())
        await runner.setup()
        assert runner.server is not None
        taking = asyncio.create_task(self._connections.run(self._sockets, runner.server))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                taking.result()  # raises the error that ended it
        finally:
            self._routes.end()
            for task in (taking, stopping):
                task.cancel()
            await asyncio.gather(taking, stopping, return_exceptions=True)
            await runner.cleanup()


def _ignore(value: object) -> None:
    """A callback that does nothing."""
