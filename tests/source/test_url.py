"""Streams by URL: what ends, what goes on, and why one does not open."""

import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.errors import NotThereError, SourceError
from hydrart.source.opener import Opener
from tests.support.commands import PATIENCE_S, PROGRAM, run_json
from tests.support.http_server import serving
from tests.support.videos import encode, stripes

pytest.importorskip("av", reason="PyAV is not installed (extra: video)")


@pytest.fixture(scope="module")
def ts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("ts") / "x.ts", [stripes(48, 96)] * 12, "mpeg2video")


@pytest.mark.parametrize("length", [True, False])
def test_a_recording_over_http_ends(length: bool, ts: Path, weights: Path) -> None:
    with serving(ts, length=length) as (port, _):
        frames, summary = run_json("--source", f"http://127.0.0.1:{port}/x.ts", "--weights", weights, "--frames", "all")
    assert len(frames) == 12 == summary["frames"]


@pytest.mark.parametrize("faststart", [True, False])
def test_an_mp4_from_a_server_without_ranges(faststart: bool, tmp_path: Path) -> None:
    """Its index may come last, behind more than FFmpeg keeps: then it cannot be played."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(12)]
    flags = {"movflags": "faststart"} if faststart else {}
    path = encode(tmp_path / "x.mp4", noise, "mjpeg", pixels="yuvj420p", container=flags, qmin="1", qmax="1")
    with serving(path) as (port, _):
        source = Opener(f"http://127.0.0.1:{port}/x.mp4").open()
        assert not source.live
        if faststart:
            assert len(list(source.shots())) == 12
        else:
            with pytest.raises(SourceError, match=r"gives no frame .* its server lacks byte ranges"):
                list(source.shots())


def test_a_recording_that_breaks_off_is_told(tmp_path: Path) -> None:
    options: dict[str, Any] = {"pixels": "yuvj420p", "container": {"movflags": "faststart"}}
    path = encode(tmp_path / "x.mp4", [stripes(480, 640)] * 50, "mjpeg", **options)
    with serving(path, after=path.stat().st_size // 4096 * 4096 // 2) as (port, _):
        source = Opener(f"http://127.0.0.1:{port}/x.mp4").open()
        with pytest.raises(SourceError, match=r"broke off after [12]\d frames \(.*\)"):
            list(source.shots())


@pytest.mark.parametrize("password", ["secret", "se/cr?et#", "a@b:c", "100%", "%41", "[x] y"])
def test_a_password_holds_what_it_likes(password: str, ts: Path) -> None:
    with serving(ts, password=password) as (port, _):
        typed = password.replace("%41", "%2541")  # a percent sign with two digits behind it is an escape
        assert len(list(Opener(f"http://me:{typed}@127.0.0.1:{port}/x.ts").open().shots())) == 12
        for url in (f"http://me:wrong@127.0.0.1:{port}/x.ts", f"http://127.0.0.1:{port}/x.ts"):
            with pytest.raises(SourceError, match=r"401 Unauthorized.*check path, user and password") as error:
                Opener(url).open()
            assert "wrong" not in str(error.value) and not isinstance(error.value, NotThereError)


def test_what_may_be_there_later(ts: Path) -> None:
    for status in (404, 503):
        with serving(ts, status=status) as (port, _), pytest.raises(NotThereError, match=f"{str(status)[0]}"):
            Opener(f"http://127.0.0.1:{port}/x.ts").open()
    with pytest.raises(NotThereError, match="Connection refused"):
        Opener("http://127.0.0.1:1/").open()
    with pytest.raises(NotThereError, match="is not known"):
        Opener("rtsp://nowhere.invalid/x").open()


def test_one_connection_is_made(ts: Path) -> None:
    """Some cameras serve one client only: a connection that only looks whether they are there uses them up."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                accepted.append(client)
                client.recv(65536)
                if len(accepted) == 1:
                    data = ts.read_bytes()
                    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        source = Opener(f"http://127.0.0.1:{server.getsockname()[1]}/x.ts").open()
        assert len(list(source.shots())) == 12 and len(accepted) == 1
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)
    for client in accepted:
        client.close()


def test_a_server_that_says_nothing_is_left(weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://me:secret@127.0.0.1:{server.getsockname()[1]}/x"
        command = [*PROGRAM, "run", "--source", url, "--wait", "0", "--weights", str(weights)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 1 and "cannot be reached (it did not answer in time)" in run.stderr.splitlines()[-1]
    assert "secret" not in run.stderr


def test_a_playlist_of_a_server_prints_nothing(tmp_path: Path, weights: Path) -> None:
    """FFmpeg itself prints its address, password included."""
    playlist = tmp_path / "x.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nmissing.ts\n#EXT-X-ENDLIST\n")
    with serving(playlist, password="secret") as (port, _):
        url = f"http://me:secret@127.0.0.1:{port}/x.m3u8"
        command = [*PROGRAM, "run", "--source", url, "--wait", "0", "--weights", str(weights)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 1 and "secret" not in run.stderr + run.stdout
    assert [line for line in run.stderr.splitlines() if "m3u8" in line] == run.stderr.splitlines()[-1:]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html><html><body><img src=video></body></html>", "is a web page: give the address of its stream"),
        (b"\n" * 3000 + b"<HTML>" + b"x" * 100_000, "is a web page: give the address of its stream"),
        (b"<script>location = 'login'</script>", "is a web page: give the address of its stream"),
        (b'{"error": "no such camera"}', "sends text, no video: check its path"),
        (b"hello " * 500, "sends text, no video: check its path"),
        (b"", "sends nothing: check its path"),
        (bytes(range(256)) * 40, "gives no video"),
    ],
)
def test_what_a_server_sends_instead_of_a_video(body: bytes, words: str, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_bytes(body)
    with serving(page, password="secret") as (port, _), pytest.raises(SourceError) as info:
        Opener(f"http://me:secret@127.0.0.1:{port}/x.m3u8").open()
    assert str(info.value).startswith(f"http://***@127.0.0.1:{port}/x.m3u8 {words}")


def test_a_protocol_that_ffmpeg_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As srt:// in PyAV's wheels. Waiting for it would be in vain."""
    av = pytest.importorskip("av")

    def lacks(*args: object, **settings: object) -> None:
        raise av.ProtocolNotFoundError(1, "Protocol not found")

    monkeypatch.setattr(av, "open", lacks)
    with pytest.raises(SourceError, match="PyAV's FFmpeg lacks its protocol") as info:
        Opener("srt://127.0.0.1:1").open()
    assert not isinstance(info.value, NotThereError)
