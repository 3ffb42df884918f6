"""--serve: the live page, where its extra is installed, and the links that lead to it."""

import contextlib
import fcntl
import os
import platform
import secrets
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from hydrart.cli.exit_codes import Failure
from hydrart.errors import SettingError, import_extra
from hydrart.model import Model
from hydrart.output.outputs import Outputs

if TYPE_CHECKING:
    from hydrart.dashboard.server import Dashboard

_TOKEN = "HYDRART_TOKEN"
_GET_ADDRESS = 0x8915  # SIOCGIFADDR of Linux' netdevice(7)
_ANYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
_SOMEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # reserved for documents: RFC 5737, 3849
# Two modules of a QR code, the upper and the lower one; 1 is dark.
_BLOCKS = {(0, 0): " ", (0, 1): "▄", (1, 0): "▀", (1, 1): "█"}
# Black on white (ECMA-48, SGR). Themes change the first 16 colours, and leave these two of the 256 as they are.
_INK, _PLAIN = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
_PACKAGES = {"aiohttp.web": "aiohttp", "prometheus_client": "prometheus-client", "simplejpeg": "simplejpeg"}


class HostPort(click.ParamType[tuple[str, int]]):
    """[HOST:]PORT as a pair. Without a host it is loopback. Port 0 takes any port that is free."""

    name = "[HOST:]PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        name, _, port = value.rpartition(":")
        host = name.strip("[]") or "127.0.0.1"
        try:
            host.encode("idna")
            right = port.isdecimal() and len(port) <= 5 and int(port) <= 65535
        except UnicodeError:  # labels that are empty or too long, and bytes that are no text
            right = False
        if not right:
            self.fail(f"{value} is no address: write 8080 or 0.0.0.0:8080", param, ctx)
        return host, int(port)


def serve(
    address: tuple[str, int], title: str, model: Model, outputs: Outputs, bounds: Mapping[str, Any], asks_token: bool
) -> "Dashboard":
    """Start the page of a run whose source is not open yet, and say its addresses.

    title: the source. bounds: what hydrart.dashboard.controls.Bounds takes. asks_token: ask for a token on loopback,
    too. Raises MissingExtraError, Failure.
    """
    for module, package in _PACKAGES.items():
        import_extra(module, "--serve", package, "dashboard")
    from hydrart.dashboard.controls import Bounds
    from hydrart.dashboard.guard import is_loopback
    from hydrart.dashboard.server import Dashboard

    host, port = address
    fixed = os.environ.get(_TOKEN) or None
    token = (fixed or secrets.token_urlsafe(16)) if asks_token or not is_loopback(host) else None
    build = {"python": platform.python_version(), "weights": model.file.path.name, "precision": model.precision}
    try:
        dashboard = Dashboard(
            host,
            port,
            token,
            title=title,
            heads=model.heads,
            bounds=Bounds(**bounds),
            seen=model.seen,
            build={**build, "backend": model.backend},
            on_event=outputs.event,
            say=outputs.say,
        )
    except SettingError as error:  # it does not last: a port becomes free, an address comes with its network
        raise Failure(str(error)) from error
    # a journal is kept, and others may read it: it gets no token that holds for longer than this run
    hidden = token is not None and token == fixed and _in_journal()
    links = [link(name, dashboard.port, None if hidden else token) for name in reachable(host)]
    for one in links:
        outputs.say(f"live page: {one}{f' (with ?token= and what {_TOKEN} holds)' if hidden else ''}")
    if not is_loopback(host) and not hidden:
        _show_code(links[0], outputs.draw)
    return dashboard


def link(host: str, port: int, token: str | None) -> str:
    """The page's address. The token may have any characters."""
    shown = f"[{host}]" if ":" in host else host
    secret = "" if token is None else f"?token={quote(token, safe='')}"
    return f"http://{shown}:{port}/{secret}"


def reachable(host: str) -> list[str]:
    """The addresses under which others find this machine; the host itself if it is none that stands for all."""
    family = _ANYWHERE.get(host)
    if family is None:
        return [host]
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_SOMEWHERE[family], 9))  # sends nothing: only the route is looked up
        found.append(probe.getsockname()[0])
    if family == socket.AF_INET:
        found += _addresses()
    others = [address for address in dict.fromkeys(found) if not address.startswith("127.")]
    return others or ["127.0.0.1" if family == socket.AF_INET else "::1"]


def _addresses() -> Iterator[str]:
    """The IPv4 address of each network interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has none
                answer = fcntl.ioctl(asking, _GET_ADDRESS, struct.pack("256s", os.fsencode(name)))
                yield socket.inet_ntoa(answer[20:24])


def _in_journal() -> bool:
    return _terminal_encoding() is None and bool({"JOURNAL_STREAM", "NOTIFY_SOCKET"} & os.environ.keys())


def _terminal_encoding() -> str | None:
    """The encoding of the terminal on stderr; None where stderr is none."""
    stderr = sys.__stderr__  # the live panel has replaced sys.stderr; None where the program started without one
    return stderr.encoding.lower() if stderr is not None and stderr.isatty() else None


def _show_code(text: str, draw: Callable[[str], None]) -> None:
    """Draw the text as a QR code for a phone's camera, on terminals that can show one."""
    if not (_terminal_encoding() or "").startswith("utf"):
        return
    try:
        import segno
    except Exception:  # it is missing or damaged, and the link alone leads there, too
        return
    rows = [bytes(row) for row in segno.make(text, error="l").matrix_iter(border=2)]
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=bytes(len(rows[0]))):
        draw(f"{_INK}{''.join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))}{_PLAIN}")
