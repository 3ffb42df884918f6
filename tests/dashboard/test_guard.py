"""Who may see the live page, and who may change anything."""

import pytest

from tests.support.dashboards import TOKEN, Page


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
