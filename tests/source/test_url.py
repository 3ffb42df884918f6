"""Streams by URL: secrets, and those that cannot be opened."""

import subprocess
from pathlib import Path

import pytest

from hydrart.source.url import without_secrets
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
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    shown = subprocess.run(
        [*PROGRAM, "run", "--source", url, "--weights", str(weights)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert shown.returncode == 1 and words in shown.stderr.splitlines()[-1]
    assert "secret" not in shown.stderr + shown.stdout
