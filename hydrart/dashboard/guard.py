"""Check each request's permission to see the live page or change settings.

Without a token, the Host header must name this machine. That stops DNS rebinding, in which another site's name points
here. With a token, each request needs it. No other site may embed the page or change settings. Browsers state a
request's origin, and a form of another site cannot send JSON.
"""

import contextlib
import hashlib
import hmac
import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",  # nginx would buffer events
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

# A browser that followed another site's link does not send the cookie. It does when this page loads itself again.
_AGAIN = '<!doctype html><meta http-equiv="refresh" content="0; url=./"><title>hydrart</title>'


class _Claims(NamedTuple):
    """The claims of a request about itself."""

    host: str  # host name without the port
    in_query: str  # token in the query string
    in_header: str
    in_cookie: str
    own_origin: bool  # whether the request claims this page as its origin
    content_type: str


def is_loopback(host: str) -> bool:
    """Whether a host name or address is certainly this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """The guard of the page. token: each request must have it; None: requests from this machine need none."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        # Cookies ignore ports, so each token has its own cookie. The cookie's name has a digest, because a token may
        # have any characters.
        digest = hashlib.sha256((token or "").encode(errors="surrogatepass")).hexdigest()
        self._cookie, self._in_cookie = f"hydrart-{digest[:8]}", digest[8:]

    @property
    def middleware(self) -> Middleware:
        """Refuse the requests that may not pass."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                claims = _claims(request, self._cookie)
            except Exception:  # a stranger's request may have any content
                raise web.HTTPBadRequest(text="this request is malformed\n") from None
            knows = self._knows_the_token(claims)
            if self._token is None:
                if not is_loopback(claims.host):
                    raise web.HTTPForbidden(text="this page is for this machine: open it as localhost\n")
            elif claims.in_query and knows and request.method == "GET" and request.path == "/":
                found = web.HTTPFound("./")  # relative, because a proxy may add a path prefix
                found.set_cookie(self._cookie, self._in_cookie, httponly=True, samesite="Strict")
                raise found
            elif not knows and not _equal(claims.in_cookie, self._in_cookie):
                if request.path == "/" and not _own(request) and _followed(request):
                    raise web.HTTPUnauthorized(text=_AGAIN, content_type="text/html")
                raise web.HTTPUnauthorized(text="a token is needed: open the address that hydrart printed\n")
            _refuse_other_sites(request, claims, knows)
            return await handler(request)

        return check

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Signal handler: add headers against foreign content, embedding, framing and caching."""
        response.headers.update(_HEADERS)
        with contextlib.suppress(Exception):  # the request may be malformed
            if self._knows_the_token(_claims(request, self._cookie)):
                response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    def _knows_the_token(self, claims: _Claims) -> bool:
        """Whether the request itself has the token, not only the cookie. Then another site may show the picture."""
        token = self._token
        return token is not None and (_equal(claims.in_query, token) or _equal(claims.in_header, token))


def _claims(request: web.Request, cookie: str) -> _Claims:
    """Read the claims of a request. A malformed request raises any kind of error."""
    origin = request.headers.get("Origin")
    host = urlsplit(f"//{request.host}")
    request.host.encode("ascii")
    _ = host.port  # raises an error if it is no number
    return _Claims(
        host.hostname or "",
        request.query.get("token", ""),
        request.headers.get("Authorization", "").removeprefix("Bearer "),
        request.cookies.get(cookie, ""),
        origin is None or urlsplit(origin).netloc == request.host,
        request.content_type,
    )


def _equal(given: str, wanted: str) -> bool:
    """Whether both are equal. The time is independent of the place of a difference."""
    # headers may have undecodable bytes
    one, other = (text.encode(errors="surrogatepass") for text in (given, wanted))
    return hmac.compare_digest(one, other)


def _refuse_other_sites(request: web.Request, claims: _Claims, knows: bool) -> None:
    """Refuse requests of other sites. Raises HTTPForbidden, HTTPUnsupportedMediaType."""
    if request.method in ("GET", "HEAD"):
        # another site may link to this page
        if not (_own(request) or _followed(request) or knows):
            raise web.HTTPForbidden(text="another site may not show anything from here\n")
        return
    if not _own(request) or not claims.own_origin:
        raise web.HTTPForbidden(text="another site may not change anything here\n")
    if claims.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON\n")


def _own(request: web.Request) -> bool:
    """Whether the browser states that the request comes from no other site."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _followed(request: web.Request) -> bool:
    """Whether the browser states that the request follows a link and its answer fills the window."""
    return [request.headers.get(f"Sec-Fetch-{what}") for what in ("Mode", "Dest")] == ["navigate", "document"]
