"""The first opening of a source: one that hangs, one that is not there yet."""

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import hydrart
from hydrart.errors import NotThereError, SourceError
from hydrart.source.opener import Opener, Source
from hydrart.stream import opening
from hydrart.stream.events import Event
from hydrart.stream.opening import default_wait_s, open_source
from tests.support.commands import PATIENCE_S, PROGRAM, json_lines
from tests.support.http_server import serving
from tests.support.sources import ENDLESS, Camera
from tests.support.videos import encode, stripes


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_PAUSE_S", 0.01)
    monkeypatch.setattr(opening, "_TICK_S", 0.01)


class Late:
    """Opens at the third try."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self) -> Source:
        self.tries += 1
        if self.tries < 3:
            raise NotThereError("not there yet")
        return Camera(ENDLESS)


def test_a_source_that_is_not_there_yet_is_waited_for() -> None:
    late, events, waits = Late(), list[Event](), list[None]()
    source = open_source(Opener(late), PATIENCE_S, on_event=events.append, on_wait=lambda: waits.append(None))
    assert source.name == "fake camera" and late.tries == 3 and waits
    assert [(event.state, event.reason) for event in events] == [("opening", "not there yet; next try in 0.01 s")] * 2


def test_waiting_ends(model: hydrart.Model) -> None:
    def never() -> Source:
        raise NotThereError("not there")

    start = time.monotonic()
    with pytest.raises(NotThereError, match="not there"):
        hydrart.Stream(never, model, wait_s=0.1, measure=False)
    assert time.monotonic() - start >= 0.1

    def wrong() -> Source:
        raise SourceError("wrong for ever")

    with pytest.raises(SourceError, match="wrong for ever"):
        hydrart.Stream(wrong, model, wait_s=PATIENCE_S, measure=False)


def test_which_sources_are_waited_for_by_default() -> None:
    url, camera = Opener("rtsp://me:secret@cam/1"), Opener(0)
    assert [default_wait_s(opener, "reconnect") for opener in (url, camera, Opener("x.mp4"))] == [10, 0, 0]
    assert default_wait_s(url, "exit") == 0
    assert (url.name, camera.name) == ("rtsp://***@cam/1", "the camera /dev/video0")


def test_an_opening_that_hangs_is_left_behind_and_closed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_LIMIT_S", 0.1)
    hang, camera = threading.Event(), Camera(ENDLESS)

    def hanging() -> Source:
        hang.wait(PATIENCE_S)
        return camera

    with pytest.raises(SourceError, match=r"the source did not open within 0\.1 s"):
        open_source(Opener(hanging), 0, on_event=lambda event: None, on_wait=lambda: None)
    hang.set()
    assert camera.closed.wait(PATIENCE_S)


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_opening_that_hangs(sent: signal.Signals, weights: Path) -> None:
    """As a camera's driver does, in an ioctl."""
    code = """
import os, sys, time
import hydrart.source.camera
from hydrart.cli.main import main
def hang(device):
    print("hangs", flush=True)
    time.sleep(600)
hydrart.source.camera.diagnose = hang
main(["run", "--camera", "0", "--weights", sys.argv[1]], prog_name="hydrart")
"""
    command = [PROGRAM[0], "-c", code, str(weights)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "hangs\n"
        run.send_signal(sent)
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130 and "Traceback" not in said


def test_a_server_that_comes_late(tmp_path: Path, weights: Path) -> None:
    ts = encode(tmp_path / "x.ts", [stripes(48, 96)] * 12, "mpeg2video")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://me:secret@127.0.0.1:{port}/x.ts"
    command = [*PROGRAM, "run", url, "--wait", str(PATIENCE_S), "--weights", str(weights), "--fps", "max", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stderr is not None
        said = next(line for line in run.stderr if line.startswith("waiting: "))
        assert f"http://***@127.0.0.1:{port}/x.ts cannot be reached (Connection refused)" in said
        with serving(ts, port=port):
            out, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0 and len(json_lines(out)) == 12 + 1
