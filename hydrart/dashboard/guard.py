"""Who may see the live page, and who may change anything.

On loopback the Host header must name this machine, so that another site cannot get in by pointing its name here (DNS
rebinding). Elsewhere each request needs the token. A request that changes something must come from the page itself:
browsers send the origin, and a form of another site cannot send JSON.
"""

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_COOKIE = "hydrart"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is certainly this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard(token: str | None) -> Middleware:
    """The middleware. token: what each request must carry; None on loopback."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is None:
            if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
                raise web.HTTPForbidden(text="this page is for this machine: open it as localhost\n")
        elif hmac.compare_digest(request.query.get("token", "").encode(), token.encode()):
            if request.method != "GET" or request.path != "/":
                return await _same_origin(request, handler)
            found = web.HTTPFound("/")
            found.set_cookie(_COOKIE, token, httponly=True, samesite="Strict")
            raise found
        else:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.cookies.get(_COOKIE, "")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise web.HTTPUnauthorized(text="a token is needed: open the address that hydrart printed\n")
        return await _same_origin(request, handler)

    return check


async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method not in ("GET", "HEAD"):
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="another site may not change anything here\n")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="another site may not change anything here\n")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send JSON\n")
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: nothing from other hosts, no frames, nothing kept."""
    response.headers.update(_HEADERS)
