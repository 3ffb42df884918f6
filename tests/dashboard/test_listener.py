"""How many connections the live page takes, for how long, and how often one may ask."""

import contextlib
import http.client
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

import hydrart
from hydrart.errors import SettingError
from tests.support.commands import PATIENCE_S
from tests.support.dashboards import Page, page

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: dashboard)")

from hydrart.dashboard import listener

# opens connections, sends something on each, says so, and holds them until its stdin ends
CROWD = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
port, count, text = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
held = []
for _ in range(count):
    one = socket.socket()
    one.settimeout(60)
    try:
        one.connect(("127.0.0.1", port))
        one.sendall(text.encode().replace(b"|", b"\\r\\n"))
    except OSError:
        continue
    held.append(one)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own(model: hydrart.Model) -> Iterator[Page]:
    """A page that no other test uses: its limits are used up."""
    with page(model) as running:
        yield running


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def answers(running: Page) -> bool:
    """Whether somebody else is answered."""
    try:
        return running.ask("/healthz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (300, ""),
        pytest.param(1100, "", marks=pytest.mark.slow),
        (300, "GET / HTTP/1.1|Host: localhost|X-Slow: "),
        (300, "GET /events HTTP/1.1|Host: localhost||"),
        (60, "GET /picture HTTP/1.1|Host: localhost||"),
        (200, "POST /control HTTP/1.1|Host: localhost|Content-Type: application/json|Content-Length: 10||{"),
    ],
    ids=["idle", "many idle", "slow headers", "events", "pictures", "slow bodies"],
)
def test_a_crowd_takes_neither_the_descriptors_nor_the_run(count: int, text: str, own: Page) -> None:
    before, limit = descriptors(), listener.Connections(own.complaints).most_of_one
    command = [sys.executable, "-c", CROWD, str(own.port), str(count), text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdin is not None and crowd.stdout is not None
        highest, answered = descriptors(), own.latest_frame()
        end = time.monotonic() + PATIENCE_S
        while not select.select([crowd.stdout], [], [], 0.02)[0]:
            highest = max(highest, descriptors())
            assert time.monotonic() < end
        until(lambda: own.latest_frame() > answered + 20)
        highest = max(highest, descriptors())
        until(lambda: answers(own))
        crowd.stdin.close()
    assert highest <= before + limit + 8, "two pipes, and what the test itself opens"
    until(lambda: descriptors() <= before + 8)


def test_who_says_nothing_is_left(own: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_QUIET_S", 0.5)
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    for text in (b"", head + b"X-Slow", head + b"\r\n"):
        with socket.create_connection(("127.0.0.1", own.port), PATIENCE_S) as quiet:
            quiet.sendall(text)
            data = b""
            try:
                while part := quiet.recv(1 << 16):
                    data += part
            except ConnectionResetError:
                pass
        assert data.startswith(b"HTTP/1.1 200" if text.endswith(b"\n") else b"")


def test_who_asks_too_often_waits_and_others_do_not(own: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_PENALTY", 5.0)  # a fifth of a second
    statuses: list[int] = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", own.port, timeout=PATIENCE_S)) as connection:
        while 429 not in statuses:
            connection.request("POST", "/control", b'{"k": 5}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
        assert answer.headers["Connection"] == "close"
    assert statuses[:50] == [200] * 50 and set(statuses) == {200, 429}
    until(lambda: answers(own))
    assert len(own.said) == 1 and "asks too often" in own.said[0], "one line, however often"


def test_the_page_leaves_half_of_the_free_descriptors(own: Page) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 40, before[1]))
    try:
        few = listener.Connections(own.complaints)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 3, before[1]))
        fewest = listener.Connections(own.complaints)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert 15 <= few.most <= 20 and few.most_of_one == few.most // 2
    assert fewest.most == fewest.most_of_one == 4


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "ü" * 64, "\udcff"])
def test_names_that_are_none(host: str) -> None:
    with pytest.raises(SettingError, match="no host name"):
        listener.listen(host, 0)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(SettingError, match=r"cannot be served at 203\.0\.113\.1:8080 \(Cannot assign"):
        listener.listen("203.0.113.1", 8080)


def test_localhost_listens_at_all_its_addresses() -> None:
    sockets = listener.listen("localhost", 0)
    ports = {one.getsockname()[1] for one in sockets}
    for one in sockets:
        one.close()
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_a_network_of_ipv6_counts_as_one(address: str, client: str) -> None:
    assert listener._client(address) == client
