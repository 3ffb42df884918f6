"""Streams: order, drops, stamps, ends."""

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import SettingError, SourceError
from hydrart.model import Prediction
from hydrart.picture.colour import Depth
from hydrart.source.opencv import to_rgb
from hydrart.source.opener import Opener
from hydrart.source.pictures import DemoSource
from hydrart.source.shot import Shot
from hydrart.stream.frame import Frame
from hydrart.stream.mailbox import Mailbox
from hydrart.stream.pace import RateKeeper, RateLimit
from hydrart.stream.result import Result
from hydrart.stream.stats import Stats
from hydrart.stream.stream import Stream

Rgb = NDArray[np.uint8]


def numbered(n: int) -> list[Rgb]:
    return [np.full((8, 8, 3), i, np.uint8) for i in range(n)]


class LiveSource:
    """A camera that gives a frame every millisecond, and fails after the last if told to."""

    name = "fake camera"
    detail = ""
    live = True
    fps: float | None = 1000.0
    skipped = 0

    def __init__(self, frames: int, error: Exception | None = None) -> None:
        self.closed = threading.Event()
        self._frames, self._error = frames, error

    def shots(self) -> Iterator[Shot]:
        for i in range(self._frames):
            if self.closed.wait(0.001):
                return
            yield Shot(np.full((8, 8, 3), i % 256, np.uint8))
        if self._error:
            raise self._error

    def close(self) -> None:
        self.closed.set()


def test_every_frame_of_a_list_in_order(model: hydrart.Model) -> None:
    with Stream(numbered(20), model, keep_frame=True) as stream:
        results = list(stream)
    assert [result.frame for result in results] == list(range(20))
    assert [int(result.picture[0, 0, 0]) for result in results if result.picture is not None] == list(range(20))
    assert all(result.dropped == 0 and result.deadline_ms is None and not result.missed for result in results)
    assert {result.prediction.k for result in results} == {12}
    assert stream.stats()["frames"] == 20


def test_pictures_are_not_kept_unless_asked(model: hydrart.Model) -> None:
    assert next(iter(Stream(numbered(1), model))).picture is None


def test_a_live_source_drops_what_is_too_old(model: hydrart.Model) -> None:
    source = LiveSource(200)
    with Stream(source, model, fps=50) as stream:
        results = list(stream)
    numbers = [result.frame for result in results]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 199
    assert sum(result.dropped for result in results) + len(results) == 200
    assert len(results) < 200
    stats = stream.stats()
    assert stats["dropped"] + stats["frames"] == 200
    assert source.closed.is_set()


def test_all_frames_of_a_live_source_on_request(model: hydrart.Model) -> None:
    with Stream(LiveSource(30), model, frames="all") as stream:
        assert [result.frame for result in stream] == list(range(30))


def test_a_camera_that_fails_is_told(model: hydrart.Model) -> None:
    with (
        Stream(LiveSource(5, SourceError("gone: check its cable")), model) as stream,
        pytest.raises(SourceError, match="gone"),
    ):
        list(stream)


def test_stamps_are_ordered(model: hydrart.Model) -> None:
    before, wall = time.monotonic(), time.time()
    with Stream(numbered(5), model, fps=100) as stream:
        results = list(stream)
    after = time.monotonic()
    captures = [result.t_capture for result in results]
    assert before <= captures[0] and captures == sorted(captures) and captures[-1] <= after
    assert abs(results[0].t_wall - wall) < 60
    for result in results:
        assert result.deadline_ms == 10
        assert result.age_ms >= result.prediction.latency_ms * 0.99
        assert result.missed == (result.age_ms > 10)


def test_json_line_has_every_key(model: hydrart.Model) -> None:
    line = next(iter(Stream(numbered(1), model, fps=15))).as_dict()
    keys = "frame t_capture t_wall k label score top capture_ms preprocess_ms infer_ms age_ms deadline_ms missed "
    keys += "dropped temp_c battery power_w reason"
    assert list(line) == keys.split()
    assert line["temp_c"] is None and len(line["top"]) == 5


def test_leaving_early_closes_the_source(model: hydrart.Model) -> None:
    source = LiveSource(10_000)
    with Stream(source, model) as stream:
        for result in stream:
            if result.frame > 3:
                break
    assert source.closed.wait(2)


def test_closing_from_another_thread_ends_the_loop(model: hydrart.Model) -> None:
    stream = Stream(LiveSource(100_000), model)
    threading.Timer(0.2, stream.close).start()
    assert list(stream)


def test_demo_is_a_real_clip(model: hydrart.Model) -> None:
    pictures = [shot.picture for shot in DemoSource().shots()]
    assert len(pictures) > 100 and pictures[0].shape[2] == 3 and min(pictures[0].shape[:2]) >= 200
    assert not np.array_equal(pictures[0], pictures[10]), "it moves"


def test_folders_globs_and_animations(tmp_path: Path, model: hydrart.Model) -> None:
    for i in range(3):
        Image.fromarray(np.full((9, 9, 3), i * 40, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub").mkdir()
    frames = [Image.fromarray(np.full((9, 9, 3), i * 60, np.uint8)) for i in range(4)]
    frames[0].save(tmp_path / "sub" / "a.gif", save_all=True, append_images=frames[1:])

    def count(source: object) -> int:
        with Stream(source, model) as stream:
            return sum(1 for _ in stream)

    assert count(tmp_path) == 3 + 4
    assert count(str(tmp_path / "*.png")) == 3
    assert count(tmp_path / "1.png") == 1
    assert count(tmp_path / "sub" / "a.gif") == 4


def test_broken_pictures_are_named_and_skipped(tmp_path: Path, model: hydrart.Model) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    told: list[str] = []
    with Stream(tmp_path, model, warn=told.append) as stream:
        assert sum(1 for _ in stream) == 1
    assert stream.stats()["skipped"] == 1 and len(told) == 1 and "bad.png" in told[0]
    (tmp_path / "good.png").unlink()
    with Stream(tmp_path, model) as stream, pytest.raises(SourceError, match="all 1 files failed"):
        list(stream)


def test_video_file(tmp_path: Path, model: hydrart.Model) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = str(tmp_path / "x.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for _ in range(6):
        writer.write(np.full((48, 64, 3), (255, 0, 0), np.uint8))  # OpenCV writes BGR: this is blue
    writer.release()
    source = Opener(path).open()
    assert source.fps == 10 and not source.live
    with Stream(source, model, keep_frame=True) as stream:
        results = list(stream)
    assert len(results) == 6
    assert results[0].picture is not None
    red, green, blue = results[0].picture[24, 32].tolist()
    assert blue > 200 and red < 50 and green < 50, "colours are RGB"


def test_opencv_pictures_of_any_kind_become_rgb() -> None:
    bgr = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(to_rgb(bgr, Depth()), bgr[:, :, ::-1])
    bgra = np.concatenate((bgr, bgr[:, :, :1]), axis=2)
    np.testing.assert_array_equal(to_rgb(bgra, Depth()), bgr[:, :, ::-1])
    grey = bgr[:, :, 0]
    np.testing.assert_array_equal(to_rgb(grey, Depth()), np.stack((grey,) * 3, axis=2))
    np.testing.assert_array_equal(to_rgb(bgr.astype(np.uint16) << 8, Depth(16)), bgr[:, :, ::-1])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/dev/video250", "there is no camera /dev/video250"),
        (250, "there is no camera /dev/video250"),
        ("nowhere/*.jpg", "no file matches"),
        ("rtsp://user:secret@127.0.0.1:1/x", "rtsp://***@127.0.0.1:1/x cannot be reached"),
        (3.5, "is no source"),
    ],
)
def test_sources_that_are_not_there(source: object, words: str) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    with pytest.raises(SourceError) as error:
        Opener(source).open()
    assert words in str(error.value) and "secret" not in str(error.value)


def test_frames_must_be_latest_or_all(model: hydrart.Model) -> None:
    with pytest.raises(SettingError, match="choose latest or all"):
        Stream(numbered(1), model, frames="some")


def frame(number: int) -> Frame:
    return Frame(np.zeros((1, 1, 3), np.uint8), number, 0.0, 0.0, 0.0)


def test_mailbox_keeps_the_latest() -> None:
    box = Mailbox()
    with pytest.raises(TimeoutError):
        box.take(0.01)
    box.put(frame(1))
    box.put(frame(2))
    taken = box.take(0.01)
    assert taken is not None and taken.number == 2
    box.put(frame(3))
    box.close(ValueError("late"))
    taken = box.take(0.01)
    assert taken is not None and taken.number == 3, "what had come is still answered"
    with pytest.raises(ValueError, match="late"):
        box.take(0.01)


def test_rate_keeper_counts_from_the_first_time() -> None:
    stop = threading.Event()
    rate = RateKeeper(200, stop)
    start = time.monotonic()
    assert all(rate.wait() for _ in range(21))
    assert time.monotonic() - start >= 20 / 200 * 0.99
    stop.set()
    assert not rate.wait()


def made_up(i: int, k: int, age_ms: float, missed: bool) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), preprocess_ms=1.0, infer_ms=2.0)
    return Result(i, 0.0, 0.0, prediction, 3.0, age_ms, -1.0 if missed else None, 0, hydrart.Decision(k, "fixed"))


def test_stats_are_bounded_and_right() -> None:
    stats = Stats(start=100.0)
    for i in range(50_000):
        stats.seen += 1
        stats.add(made_up(i, 3 + i % 2, float(i % 100), i % 10 == 0))
    summary = stats.summary(now=200.0)
    assert summary["frames"] == 50_000 and summary["processed_fps"] == 500
    assert summary["miss_rate"] == 0.1 and summary["mean_k"] == 3.5 and summary["switches"] == 49_999
    assert summary["age_ms"] == {"p50": 49.5, "p95": 94.05, "max": 99.0}
    assert summary["infer_ms"] == {"p50": 2, "p95": 2, "max": 2} and summary["capture_ms"]["max"] == 3
    nothing = Stats(0.0).summary(0.0)
    assert not math.isnan(nothing["processed_fps"]) and nothing["infer_ms"] is None


@pytest.mark.parametrize(
    ("camera", "answers"), [(30, 15), (20, 15), (15.1, 15), (15, 15), (14, 14), (5, 5), (1000, 15)]
)
def test_a_rate_limit_thins_out_evenly(camera: float, answers: float) -> None:
    limit = RateLimit(15)
    rng = np.random.default_rng(0)
    times = [100 + i / camera + rng.uniform(0, 0.1 / camera) for i in range(int(60 * camera))]
    allowed = sum(map(limit.allows, times))
    assert abs(allowed - 60 * answers) <= 0.02 * 60 * answers + 2
    assert all(map(RateLimit(None).allows, times))
