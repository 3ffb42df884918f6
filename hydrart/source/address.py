"""Split the addresses of streams, quote them for FFmpeg, and hide their secrets from people."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from hydrart.errors import SourceError

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")
_HOST = r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\[\]]*)(?::(?P<port>\d+))?"
_STANDARD = re.compile(rf"(?:(?P<user>[^/?#]*)@)?{_HOST}(?P<rest>(?:[/?#].*)?)", re.DOTALL)
_TYPED = re.compile(rf"(?P<user>[^:/?#@]+:.*)@{_HOST}(?P<rest>(?:[/?#].*)?)", re.DOTALL)
_UNRESERVED = "!$&'()*+,;=-._~"  # allowed in user and password (RFC 3986, section 3.2.1)


@dataclass(frozen=True)
class Address:
    """An address for FFmpeg. User and password hold only the characters that RFC 3986 allows there.

    host: has no brackets around an IPv6 address. It is empty if the address has no host, as in udp://:5000.
    """

    url: str
    scheme: str
    host: str
    port: int | None


def parse(url: str) -> Address:
    """Parse an address as people type it: `/`, `?`, `#` and `@` in a password need no percent signs.

    RFC 3986 ends the password at the first of `/?#`. Its reading counts if it gives a valid host and port. The typed
    reading counts instead if its host looks more like a host. Raises SourceError; the message omits the password.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise SourceError(
            f"{without_secrets(url)} cannot be opened, {scheme}:// is unknown: use one of {', '.join(SCHEMES)}"
        )
    standard, typed = _STANDARD.fullmatch(rest), _TYPED.fullmatch(rest)
    found = standard
    if typed and (not standard or _looks(typed["host"]) > _looks(standard["host"])):
        found = typed
    port = int(found["port"]) if found and found["port"] else None
    if found is None or not 0 < (port or 1) < 65536:
        raise SourceError(f"{without_secrets(url)} is no address: check host and port")
    user, colon, password = (found["user"] or "").partition(":")
    login = f"{_quoted(user)}{colon}{_quoted(password)}@" if found["user"] is not None else ""
    where = found["host"] + (f":{port}" if port else "")
    return Address(f"{scheme}://{login}{where}{found['rest']}", scheme, found["host"].strip("[]"), port)


def without_secrets(url: str) -> str:
    """Return the URL without user, password, query, and path segments like password=x, for people and logs."""
    scheme, separator, rest = url.partition("://")
    _, at, rest = rest.rpartition("@")  # a password may hold any other character
    rest = re.sub(r"[?#].*", "?...", rest, count=1, flags=re.DOTALL)
    return f"{scheme}{separator}{'***@' if at else ''}{re.sub(r'/[^/]*=.*', '/...', rest, flags=re.DOTALL)}"


def has_secrets(url: str) -> bool:
    """Whether the address holds a secret that people and logs may not see."""
    return "://" in url and without_secrets(url) != url


def _looks(host: str) -> int:
    """Rate how much a text looks like a host: 2 for an address, a name with a dot or localhost; 0 for an empty text."""
    return 2 if "." in host or host.startswith("[") or host == "localhost" else 1 if host else 0


def _quoted(text: str) -> str:
    """Percent-encode the characters that a user or password may not contain. Existing percent codes stay."""
    return "".join(
        part if re.fullmatch("%[0-9A-Fa-f]{2}", part) else quote(part, safe=_UNRESERVED)
        for part in re.split("(%[0-9A-Fa-f]{2})", text)
    )
