"""Who may see the live page, and who may change anything."""

from urllib.parse import quote

import pytest

import hydrart
from tests.support.dashboards import TOKEN, Page, page


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_change_nothing(headers: dict[str, str], status: int, local: Page) -> None:
    headers = {name: value.format(port=local.port) for name, value in headers.items()}
    assert local.ask("/control", "POST", {"k": None}, **headers)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_show_nothing_but_may_link_here(headers: dict[str, str], status: int, local: Page) -> None:
    for path in ("/", "/history", "/metrics"):
        found, _, answered = local.ask(path, **headers)
        assert found == status
        assert answered["Cross-Origin-Resource-Policy"] == "same-origin" or status == 403


def test_who_knows_the_token_may_show_a_picture_elsewhere(guarded: Page) -> None:
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    status, _, answered = guarded.ask("/page.css?token=a%20token", **headers)
    assert status == 200 and answered["Cross-Origin-Resource-Policy"] == "cross-origin"
    _, _, answered = guarded.ask("/?token=a%20token")
    cookie = answered["Set-Cookie"].split(";")[0]
    assert guarded.ask("/page.css", Cookie=cookie, **headers)[0] == 403, "a cookie comes along unasked"
    assert guarded.ask("/page.css", Cookie=cookie)[2]["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"Authorization: \xff\xfe", {401}),
        (b"Authorization: Bearer \xed\xa0\x80", {401}),
        (b"Authorization: Basic !!!", {401}),
        (b'Cookie: \xff=;;=;"hydrart=', {401}),
        (b'Cookie: hydrart="\\377\\', {401}),
        (b"Host: [::1", {400}),
        (b"Host: a:b:c", {400}),
        (b"Host: \xff\xff", {400}),
        (b"Host: a:99999", {400}),
        (b"Origin: http://[::1", {400}),
        (b"Origin: \xff", {401}),
        (b"Content-Type: application/json; charset=\xff", {401}),
        (b'Content-Type: ;;;="\\', {401}),
        (b"Content-Encoding: br", {400, 401}),
        (b"Transfer-Encoding: klingon", {400}),
        (b"Content-Length: -1", {400}),
        (b"\x00: x", {400}),
    ],
)
def test_malformed_requests_are_refused_without_a_traceback(
    head: bytes, statuses: set[int], guarded: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    host = b"" if head.startswith(b"Host") else b"Host: localhost\r\n"
    for line in (b"GET / HTTP/1.1", b"GET /?token=%ff%00 HTTP/1.1", b"POST /control HTTP/1.1"):
        status = guarded.raw(line + b"\r\n" + host + head + b"\r\n\r\n")
        assert status in statuses
    assert capfd.readouterr() == ("", "") and guarded.ask("/history?token=a%20token")[0] == 200


@pytest.mark.parametrize("token", ["a&b#c+d e", "100%", "schlüssel€", '";\\', "%26"])
def test_tokens_of_any_characters(token: str, model: hydrart.Model) -> None:
    with page(model, token) as running:
        status, _, headers = running.ask(f"/?token={quote(token, safe='')}")
        assert status == 302 and running.ask("/history", Cookie=headers["Set-Cookie"].split(";")[0])[0] == 200
        assert running.ask("/history", Cookie="hydrart=x; " + headers["Set-Cookie"].split("=")[0] + "=x")[0] == 401


def test_who_follows_a_link_of_another_site_asks_once_more(guarded: Page) -> None:
    followed = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    status, body, headers = guarded.ask("/", Sec_Fetch_Site="cross-site", **followed)
    assert status == 401 and b'http-equiv="refresh"' in body and headers["Content-Type"].startswith("text/html")
    status, body, _ = guarded.ask("/", Sec_Fetch_Site="same-origin", **followed)
    assert status == 401 and b"refresh" not in body, "only once"


def test_two_pages_of_one_machine_keep_their_log_ins(model: hydrart.Model, guarded: Page) -> None:
    with page(model, "another") as other:
        cookies = [
            running.ask(f"/?token={token}")[2]["Set-Cookie"].split(";")[0]
            for running, token in ((guarded, "a%20token"), (other, "another"))
        ]
        assert cookies[0].split("=")[0] != cookies[1].split("=")[0], "cookies know no ports"
        assert all(running.ask("/history", Cookie="; ".join(cookies))[0] == 200 for running in (guarded, other))


def test_a_name_that_was_made_to_point_here_does_not_get_in(local: Page) -> None:
    for path in ("/", "/picture", "/history"):
        assert local.ask(path, Host=f"evil.example:{local.port}")[0] == 403
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert local.ask("/history", Host=f"{host}:{local.port}")[0] == 200


def test_elsewhere_everything_needs_the_token(guarded: Page) -> None:
    for path in ("/", "/page.js", "/picture", "/events", "/history", "/healthz", "/metrics"):
        assert guarded.ask(path)[0] == 401
        assert guarded.ask(path, Authorization="Bearer wrong")[0] == 401
    assert guarded.ask("/control", "POST", {"k": 4})[0] == 401
    assert guarded.ask("/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert guarded.ask("/history?token=a%20token")[0] == 200
    status, _, headers = guarded.ask("/?token=a%20token")
    assert status == 302 and headers["Location"] == "./", "the address that stays in the browser has no token"
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert guarded.ask("/", Cookie=cookie.split(";")[0])[0] == 200
    assert (
        guarded.ask("/control", "POST", {"k": None}, Cookie=cookie.split(";")[0], Origin="http://evil.example")[0]
        == 403
    )
    assert guarded.ask("/control", "POST", {"k": None}, Cookie=cookie.split(";")[0])[0] == 200
