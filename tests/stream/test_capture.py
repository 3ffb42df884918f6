"""The thread that reads a source."""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.errors import SourceError
from hydrart.source.opener import Opener, Source
from hydrart.source.shot import Shot
from hydrart.stream.capture import Capture
from hydrart.stream.frame import Frame
from tests.support.commands import PATIENCE_S
from tests.support.sources import ENDLESS, Camera, numbered


def opening(source: Any) -> Callable[[], Source]:
    return Opener(source).open


def taken(capture: Capture) -> list[Frame]:
    """All frames, until the source ends."""
    return list(iter(lambda: capture.mailbox.take(PATIENCE_S), None))


def test_frames_are_numbered_and_the_source_is_closed_at_its_end() -> None:
    camera = Camera(iter(["frame"] * 4))
    capture = Capture(opening(camera), first=7, lossy=False)
    frames = taken(capture)
    assert [frame.number for frame in frames] == [7, 8, 9, 10] and capture.next_number == 11
    assert [frame.t_capture for frame in frames] == sorted(frame.t_capture for frame in frames)
    assert all(frame.t_capture <= frame.t_ready <= time.monotonic() and frame.capture_ms > 0 for frame in frames)
    capture.join(PATIENCE_S)
    assert camera.closed.is_set() and not capture.alive


def test_what_a_source_fails_with_comes_after_its_frames() -> None:
    capture = Capture(opening(Camera(iter(["frame", SourceError("unplugged")]))), lossy=False)
    frame = capture.mailbox.take(PATIENCE_S)
    assert frame is not None and frame.number == 0
    with pytest.raises(SourceError, match="unplugged"):
        capture.mailbox.take(PATIENCE_S)


def test_an_opening_that_fails_is_raised() -> None:
    with pytest.raises(SourceError, match="does not exist"):
        Capture(opening("no such file")).mailbox.take(PATIENCE_S)


def test_a_source_that_ends_the_program_ends_with_an_error() -> None:
    def arrays() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((8, 8, 3), np.uint8)
        sys.exit(3)

    capture = Capture(lambda: Opener(arrays()).open(), lossy=False)
    assert capture.mailbox.take(PATIENCE_S) is not None
    with pytest.raises(SourceError, match="the source ended with SystemExit"):
        capture.mailbox.take(PATIENCE_S)


def test_stopping_closes_the_source() -> None:
    camera = Camera(ENDLESS)
    capture = Capture(opening(camera))
    assert capture.mailbox.take(PATIENCE_S) is not None
    capture.stop()
    capture.join(PATIENCE_S)
    assert camera.closed.is_set() and not capture.alive


def test_each_size_is_expected_before_its_first_picture_is_prepared() -> None:
    calls: list[tuple[str, int, int]] = []

    def prepare(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        calls.append(("prepare", *picture.shape[:2]))
        return np.zeros(1, np.float32), 5.0

    pictures = [np.zeros((height, 6, 3), np.uint8) for height in (4, 4, 5, 4)]
    expect: Callable[[int, int], None] = lambda height, width: calls.append(("expect", height, width))  # noqa: E731
    frames = taken(Capture(opening(pictures), lossy=False, expect=expect, prepare=prepare))
    assert [frame.prepared is not None and frame.prepared[1] for frame in frames] == [5.0] * 4
    assert calls == [
        ("expect", 4, 6),
        ("prepare", 4, 6),
        ("prepare", 4, 6),
        ("expect", 5, 6),
        ("prepare", 5, 6),
        ("expect", 4, 6),
        ("prepare", 4, 6),
    ]


def test_a_file_is_read_at_its_pace() -> None:
    start = time.monotonic()
    frames = taken(Capture(opening(numbered(6)), lossy=False, fps=50))
    assert time.monotonic() - start >= 5 / 50 * 0.99
    steps = np.diff([frame.t_capture for frame in frames])
    assert steps.sum() >= 5 / 50 * 0.99, "a frame counts as captured when it is due"


def test_a_reader_that_waits_misses_frames_only_where_it_may() -> None:
    for lossy in (True, False):
        release = threading.Event()
        capture = Capture(opening(Camera(iter(["frame", "frame", "frame", release, "frame"]))), lossy=lossy)
        deadline = time.monotonic() + PATIENCE_S
        while capture.seen < (3 if lossy else 2):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        first = capture.mailbox.take(PATIENCE_S)
        release.set()
        numbers = [first.number if first else None, *(frame.number for frame in taken(capture))]
        assert numbers[-1] == 4
        assert numbers == list(range(5)) if not lossy else numbers[0] == 2


def test_the_caller_s_stamps_pass_through() -> None:
    pairs = zip(numbered(3), itertools.count(100), strict=False)
    assert [frame.stamp for frame in taken(Capture(opening(pairs), lossy=False))] == [100, 101, 102]


@pytest.mark.parametrize(
    "given",
    [np.zeros((8, 8, 3), np.uint8), None, Shot(np.zeros((8, 8), np.uint8)), Shot(np.zeros((8, 0, 3), np.uint8))],
)
def test_what_is_no_frame_is_told(given: Any) -> None:
    class Odd(Camera):
        def shots(self) -> Any:
            return [Shot(np.zeros((8, 8, 3), np.uint8)), given, given]

    capture = Capture(lambda: Odd(ENDLESS), lossy=False)
    assert capture.mailbox.take(PATIENCE_S) is not None
    with pytest.raises(SourceError, match=r"^fake camera gives a \w+ that is no frame: yield hydrart.Shot"):
        capture.mailbox.take(PATIENCE_S)
