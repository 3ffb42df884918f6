"""Limit the live page's connections: their number, and the rate of their requests.

The run comes first. A connection costs a descriptor, and each request costs time of the interpreter, which the loop
needs, too. So the page leaves half of the free descriptors alone and closes silent connections. It accepts connections
and requests at a limited rate.
"""

import asyncio
import contextlib
import ipaddress
import os
import resource
import socket
import time
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from hydrart.dashboard.complaints import Complaints
from hydrart.errors import SettingError

_MOST, _FEWEST = 200, 4  # bounds of the number of connections
_QUIET_S = 15.0  # time limit of a connection's silence, and of its headers, in seconds
_UNREAD_BYTES = 1 << 18  # limit of the bytes that Linux buffers for a slow reader
_WAITING = 128  # limit of connections in the accept queue
_PAUSE_S = 0.5  # pause after an error of accept()
_PENALTY = 100.0  # requests that a client over its limit loses in addition
_MOST_ADDRESSES = 1024  # limit of clients with an allowance


@dataclass
class Allowance:
    """A token bucket of requests: a number at once, and then a number per second."""

    burst: float
    per_s: float
    left: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.burst

    def refill(self) -> float:
        """Return the number of requests left now."""
        now = time.monotonic()
        self.left, self.at = min(self.burst, self.left + (now - self.at) * self.per_s), now
        return self.left


@dataclass
class _Connection:
    address: str
    transport: asyncio.Transport
    since: float = field(default_factory=time.monotonic)  # time of its last answer
    answering: int = 0  # number of requests in progress


def listen(host: str, port: int) -> list[socket.socket]:
    """Open listening sockets at every address of the host, all on one port. Raises SettingError."""
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            taken = sockets[0].getsockname()[1] if sockets and not port else port
            one = None
            try:
                one = socket.socket(family, kind, protocol)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address[0], taken, *address[2:]))
                one.listen(_WAITING)
                one.setblocking(False)
                sockets.append(one)
            except OSError as error:  # localhost may have an IPv6 address although Linux has no IPv6
                refused = error
                if one is not None:
                    one.close()
    except UnicodeError:
        raise SettingError(f"{host!r} is no host name: give --serve a port, or an address and a port") from None
    except OSError as error:
        refused = error
    if not sockets:
        why = refused.strerror if refused is not None else "it has no address"
        raise SettingError(f"the page cannot be served at {host}:{port} ({why}): give another address to --serve")
    return sockets


class Connections:
    """Accept connections, close those that are too many or silent for too long, and count requests.

    complaints: gets a sentence for each kind of refusal. Use run() and the middleware in one event loop.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._open: dict[RequestHandler, _Connection] = {}
        self._arrivals = Allowance(100, 50)
        self._requests: dict[str, Allowance] = {}
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        free = _MOST * 2 if limit == resource.RLIM_INFINITY else limit - len(os.listdir("/proc/self/fd"))
        self.most = max(_FEWEST, min(_MOST, free // 2))
        self.most_of_one = max(_FEWEST, self.most // 2)

    async def run(self, sockets: list[socket.socket], server: web.Server) -> None:
        """Accept connections until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in sockets:
                tasks.create_task(self._accept(one, server))
            tasks.create_task(self._close_quiet_ones())

    @property
    def limit(self) -> Middleware:
        """The middleware that refuses clients with too many requests."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._open.get(request.protocol)
            if connection is None:
                raise web.HTTPServiceUnavailable(text="this connection has just been closed\n")
            allowance = self._allowance(connection.address)
            if allowance.refill() < 1:
                allowance.left = -_PENALTY
                self._tell_of_too_many(connection.address)
                refusal = web.HTTPTooManyRequests(text="too many requests: ask less often\n")
                refusal.force_close()
                raise refusal
            allowance.left -= 1
            connection.answering += 1
            try:
                return await handler(request)
            finally:
                connection.answering -= 1
                connection.since = time.monotonic()

        return count

    async def _accept(self, listening: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                new, address = await loop.sock_accept(listening)
            except OSError as error:  # no descriptor is left, or the client has disconnected
                self._complaints.tell("accept", f"the live page takes no connection: {error.strerror}")
                await asyncio.sleep(_PAUSE_S)
                continue
            client = _client(address[0])
            if self._admits(client):
                with contextlib.suppress(OSError):  # the client has disconnected
                    transport, handler = await loop.connect_accepted_socket(server, new)
                    self._open[handler] = _Connection(client, transport)
            else:
                new.close()
            if self._arrivals.refill() < 1:
                await asyncio.sleep(1 / self._arrivals.per_s)
            self._arrivals.left -= 1

    def _admits(self, client: str) -> bool:
        """Whether there is room for a connection. If not, close the connection with the longest silence."""
        if client in self._requests and self._requests[client].refill() < 1:
            self._tell_of_too_many(client)
            return False
        self._forget_closed()
        of_one = [one for one in self._open.values() if one.address == client]
        for all_of_them, most in ((of_one, self.most_of_one), (list(self._open.values()), self.most)):
            if len(all_of_them) < most:
                continue
            quiet = [one for one in all_of_them if not one.answering]
            if not quiet:
                self._complaints.tell("connections", f"the live page refuses {client}: {most} connections are busy")
                return False
            min(quiet, key=lambda one: one.since).transport.abort()
            self._forget_closed()
        return True

    def _tell_of_too_many(self, client: str) -> None:
        self._complaints.tell("requests", f"the live page refuses {client} for a while: it asks too often")

    def _forget_closed(self) -> None:
        self._open = {key: one for key, one in self._open.items() if not one.transport.is_closing()}

    async def _close_quiet_ones(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._forget_closed()
            now = time.monotonic()
            for one in self._open.values():
                if not one.answering and now - one.since > _QUIET_S:
                    one.transport.abort()

    def _allowance(self, client: str) -> Allowance:
        if client not in self._requests and len(self._requests) >= _MOST_ADDRESSES:
            # forget the client with the oldest last request
            del self._requests[min(self._requests, key=lambda name: self._requests[name].at)]
        return self._requests.setdefault(client, Allowance(100, 25))


def _client(address: str) -> str:
    """Return an address's client: the IPv4 address itself, or the IPv6 network of one home."""
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if parsed.version == 6:
            return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address
