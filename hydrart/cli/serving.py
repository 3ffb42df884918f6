"""--serve: the live page, where its extra is installed."""

import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hydrart.cli.exit_codes import Failure
from hydrart.errors import MissingExtraError, SettingError
from hydrart.output.outputs import stream_title
from hydrart.stream.stream import Stream

if TYPE_CHECKING:
    from hydrart.dashboard.server import Dashboard

_TOKEN = "HYDRART_TOKEN"


class HostPort(click.ParamType[tuple[str, int]]):
    """[HOST:]PORT as a pair. Without a host it is loopback. Port 0 takes any port that is free."""

    name = "[HOST:]PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        if not port.isdecimal() or len(port) > 5 or int(port) > 65535:
            self.fail(f"{value} is no address: write 8080 or 0.0.0.0:8080", param, ctx)
        return host.strip("[]") or "127.0.0.1", int(port)


def serve(address: tuple[str, int], stream: Stream, fixed_k: int | None, say: Callable[[str], None]) -> "Dashboard":
    """Start the stream's page, and say its address. fixed_k: the k of --k. Raises MissingExtraError, Failure."""
    try:
        import prometheus_client  # noqa: F401
        import simplejpeg  # noqa: F401

        from hydrart.dashboard.guard import is_loopback
        from hydrart.dashboard.server import Dashboard
    except ImportError as error:
        raise MissingExtraError("--serve", error.name or "aiohttp", "dashboard", error) from None
    host, port = address
    token = None if is_loopback(host) else os.environ.get(_TOKEN) or secrets.token_urlsafe(16)
    try:
        dashboard = Dashboard(
            host,
            port,
            token,
            title=stream_title(stream),
            heads=stream.model.heads,
            governor=stream.governor,
            fixed_k=fixed_k,
            state=lambda: stream.state,
            stats=stream.stats,
        )
    except SettingError as error:  # it does not last: a port becomes free, an address comes with its network
        raise Failure(str(error)) from error
    shown = f"[{host}]" if ":" in host else host
    say(f"live page: http://{shown}:{dashboard.port}/{'' if token is None else f'?token={token}'}")
    return dashboard
