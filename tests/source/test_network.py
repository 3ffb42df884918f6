"""Streams from real servers: RTSP with a password, from one that dies and comes back; MJPEG over HTTP."""

import contextlib
import io
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hydrart
from hydrart.stream.events import Event
from tests.support.commands import PATIENCE_S, PROGRAM, json_lines

pytest.importorskip("av", reason="PyAV is not installed (extra: video)")

PYTHON = "/usr/bin/python3"
NEEDS = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("rtpjpegpay", "jpegenc", "videotestsrc")))
"""


@contextmanager
def rtsp_server(port: int = 0) -> Iterator[int]:
    """A running server and its port; 0 asks for any. It is killed at the end."""
    command = [PYTHON, str(Path(__file__).parents[1] / "support/rtsp_server.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="module")
def gstreamer() -> None:
    try:
        done = subprocess.run([PYTHON, "-c", NEEDS], capture_output=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError:
        pytest.skip(f"there is no {PYTHON}")
    if done.returncode:
        pytest.skip("GStreamer's RTSP server is not installed: gir1.2-gst-rtsp-server-1.0, python3-gi, plugins-good")


@pytest.mark.slow
@pytest.mark.usefixtures("gstreamer")
def test_an_rtsp_server_that_dies_and_comes_back(weights: Path) -> None:
    errors: list[str] = []
    with contextlib.ExitStack() as stack:
        with rtsp_server() as port:
            url = f"rtsp://me:secret@127.0.0.1:{port}/stream"
            command = [*PROGRAM, "run", "--source", url, "--json", "--weights", str(weights)]
            run = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(run.kill)
            assert run.stdout is not None and run.stderr is not None
            listener = threading.Thread(target=errors.extend, args=(run.stderr,))
            listener.start()
            lines = [run.stdout.readline() for _ in range(5)]
            assert all(lines), errors
        wait_for(lambda: any(line.startswith("reconnecting: ") for line in errors))
        with rtsp_server(port):
            wait_for(lambda: any(line.startswith("running again") for line in errors))
            lines += [run.stdout.readline() for _ in range(5)]
            run.terminate()
            lines += run.stdout.readlines()
            assert run.wait(PATIENCE_S) == 0, errors
        listener.join(PATIENCE_S)
    *frames, last = json_lines("".join(lines))
    assert list(last) == ["summary"]
    numbers = [frame["frame"] for frame in frames]
    assert numbers == sorted(set(numbers))
    said = "".join(errors)
    assert f"rtsp://***@127.0.0.1:{port}/stream" in said and "secret" not in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("gstreamer")
def test_a_wrong_password_is_told(weights: Path) -> None:
    with rtsp_server() as port:
        command = [*PROGRAM, "run", "--source", f"rtsp://me:wrong@127.0.0.1:{port}/stream", "--weights", str(weights)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert shown.returncode == 1 and "check path, user and password" in shown.stderr.splitlines()[-1]
    assert "wrong" not in shown.stderr


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@contextmanager
def mjpeg(frames: int) -> Iterator[str]:
    """The URL of a server that sends so many frames, 50 a second, and hangs up; to each that asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for i in range(frames):
                file = io.BytesIO()
                Image.fromarray(np.full((48, 64, 3), (5 * i % 256, 0, 200), np.uint8)).save(file, "JPEG")
                data = file.getvalue()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return
                time.sleep(0.02)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/video"
        server.shutdown()
        thread.join()


def test_mjpeg_over_http_that_hangs_up(model: hydrart.Model) -> None:
    events: list[Event] = []
    with mjpeg(frames=30) as url, hydrart.Stream(url, model, keep_frame=True, on_event=events.append) as stream:
        for result in stream:
            assert result.picture is not None and result.picture.shape == (48, 64, 3)
            red, _, blue = result.picture[0, 0].tolist()
            assert blue > 150 and red < 160, "RGB"
            if sum(event.state == "running" for event in events) == 2:
                break
    assert "reconnecting" in [event.state for event in events]
    assert not any("secret" in event.reason for event in events)
