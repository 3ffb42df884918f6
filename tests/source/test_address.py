"""Addresses: their secrets, their parts, and those that cannot be opened."""

import subprocess
from pathlib import Path

import pytest

from hydrart.source.address import has_secrets, parse, without_secrets
from tests.support.commands import PATIENCE_S, PROGRAM


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam.local/1", "rtsp://cam.local/1"),
        ("rtsp://me:secret@cam:554/1", "rtsp://***@cam:554/1"),
        ("rtsp://me:sec@ret/?#@cam/1", "rtsp://***@cam/1"),
        ("http://cam/video?user=me&pwd=secret#secret", "http://cam/video?..."),
        ("rtsp://cam/user=me_password=secret_channel=1.sdp", "rtsp://cam/..."),
    ],
)
def test_secrets_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert has_secrets(url) == (url != shown)


@pytest.mark.parametrize(
    ("url", "for_ffmpeg", "host", "port"),
    [
        ("rtsp://cam.local/1", "rtsp://cam.local/1", "cam.local", None),
        ("RTSP://cam/1", "rtsp://cam/1", "cam", None),
        ("rtsp://me:pw@cam:554/1?x=a@b#c", "rtsp://me:pw@cam:554/1?x=a@b#c", "cam", 554),
        ("rtsp://me:p#w@192.168.1.5/1", "rtsp://me:p%23w@192.168.1.5/1", "192.168.1.5", None),
        ("rtsp://me:p/w@cam:8554/1", "rtsp://me:p%2Fw@cam:8554/1", "cam", 8554),
        ("rtsp://me:?@cam/1", "rtsp://me:%3F@cam/1", "cam", None),
        ("rtsp://me:12/34@cam.local/1", "rtsp://me:12%2F34@cam.local/1", "cam.local", None),
        ("rtsp://me:a@b@cam/1", "rtsp://me:a%40b@cam/1", "cam", None),
        ("rtsp://me:a:b c@cam/1", "rtsp://me:a%3Ab%20c@cam/1", "cam", None),
        ("rtsp://me:50%@cam/1", "rtsp://me:50%25@cam/1", "cam", None),
        ("rtsp://me:a%2Fb@cam/1", "rtsp://me:a%2Fb@cam/1", "cam", None),
        ("rtsp://me@cam/1", "rtsp://me@cam/1", "cam", None),
        ("http://cam.local:8080/stream@2", "http://cam.local:8080/stream@2", "cam.local", 8080),
        ("http://[fe80::1]:80/x", "http://[fe80::1]:80/x", "fe80::1", 80),
        ("udp://:5000", "udp://:5000", "", 5000),
        ("udp://@239.0.0.1:5000", "udp://@239.0.0.1:5000", "239.0.0.1", 5000),
    ],
)
def test_addresses_as_people_type_them(url: str, for_ffmpeg: str, host: str, port: int | None) -> None:
    address = parse(url)
    assert (address.url, address.host, address.port) == (for_ffmpeg, host, port)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtsp://me:secret@127.0.0.1:1/x", "cannot be reached (Connection refused)"),
        ("rtsp://me:secret@nowhere.invalid/x", "the host of rtsp://***@nowhere.invalid/x is not known"),
        ("gopher://me:secret@127.0.0.1/x", "gopher:// is unknown"),
        ("rtsp://me:secret@127.0.0.1:99999/x", "is no address"),
    ],
)
def test_streams_that_cannot_be_opened(url: str, words: str, weights: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed (extra: video)")
    shown = subprocess.run(
        [*PROGRAM, "run", "--source", url, "--wait", "0", "--weights", str(weights)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert shown.returncode == 1 and words in shown.stderr.splitlines()[-1]
    assert "secret" not in shown.stderr + shown.stdout
