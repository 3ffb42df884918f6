"""Streams: order, drops, stamps, ends; what happens before the first frame."""

import inspect
import itertools
import math
import pydoc
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.device.profiles import SensorNames
from hydrart.errors import HeadsError, ProfileError, SettingError, SourceError
from hydrart.source.opener import Opener
from hydrart.source.shot import Shot
from hydrart.stream.stream import Stream
from tests.support.commands import PATIENCE_S, video
from tests.support.commands import sensors as board
from tests.support.sources import ENDLESS, Camera, numbered


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


# before the first frame


class Rated(Camera):
    """A live source that states its rate."""

    def __init__(self, fps: float | None) -> None:
        super().__init__(ENDLESS)
        self.fps = fps


@pytest.mark.parametrize(
    ("source", "settings", "fps"),
    [
        (lambda: Rated(30.0), {}, 30.0),
        (lambda: Rated(None), {}, 15.0),
        (lambda: Rated(30.0), {"fps": 5.0}, 5.0),
        (lambda: Opener(iter(numbered(2)), live=True), {}, 15.0),
        (lambda: "demo", {}, 15.0),
        (lambda: numbered(2), {}, None),
        (lambda: numbered(2), {"fps": 7.0}, 7.0),
    ],
)
def test_the_rate_is_the_deadline(
    source: Callable[[], object], settings: dict[str, float], fps: float | None, model: hydrart.Model
) -> None:
    with Stream(source(), model, measure=False, **settings) as stream:  # type: ignore[arg-type]
        assert stream.fps == fps
        assert next(iter(stream)).deadline_ms == (None if fps is None else 1000 / fps)


def test_a_governor_of_one_s_own_brings_its_rate_and_its_goals(model: hydrart.Model) -> None:
    for rate in (20.0, None):
        governor = hydrart.Governor(model.profile(), fps=rate, k=4)
        with Stream(Rated(30.0), model, governor=governor) as stream:
            result = next(iter(stream))
        assert stream.governor is governor and stream.fps == rate
        assert result.deadline_ms == (None if rate is None else 50) and result.prediction.k == 4
    with Stream(Rated(30.0), model, fps=10, governor=hydrart.Governor(model.profile(), fps=5)) as stream:
        assert stream.fps == 10 and next(iter(stream)).deadline_ms == 200


def test_every_k_is_measured_first(model: hydrart.Model) -> None:
    shown: list[int] = []

    def progress(ks: Sequence[int]) -> Iterator[int]:
        for k in ks:
            yield k
            shown.append(k)  # it has run now

    own = hydrart.Governor(model.profile(), fps=50)
    for settings in ({"fps": 50}, {"governor": own}):
        with Stream(numbered(1), model, progress=progress, **settings) as stream:
            assert shown == list(model.heads)
            assert all((row.latency_ms or 0) > 0 for row in stream.governor.profile.points)
            decision = next(iter(stream)).decision
        assert decision.reason != "unknown" and decision.expected_ms is not None
        shown.clear()
    with Stream(numbered(1), model, fps=50, measure=False, progress=progress) as stream:
        assert next(iter(stream)).decision.reason == "unknown" and not shown


def test_a_device_profile_is_taken_over(model: hydrart.Model, tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    thermal = "{ambient_c: 25, stages: [{r_c_per_w: 3, tau_s: 9}], throttle_c: 80}"
    path.write_text(f"latency_ms: {{3: 41.0, 12: 480.0}}\nthermal: {thermal}\n")
    with Stream(numbered(1), model, device=path, measure=False) as stream:
        assert stream.governor.profile.points[0].latency_ms == 41 and stream.governor.max_temp_c == 78
    with Stream(numbered(1), model, device=path) as stream:
        assert stream.governor.profile.points[0].latency_ms != 41, "measured here"
    with pytest.raises(ProfileError):
        Stream(numbered(1), model, device="no such board")


def test_goals_make_the_governor(model: hydrart.Model) -> None:
    with Stream(numbered(3), model, fps=1, min_k=4, max_k=5, max_temp_c=60, until_h=1) as stream:
        assert stream.governor.max_temp_c == 60
        assert {result.prediction.k for result in stream} <= {4, 5}
    with Stream(numbered(2), model, k=6) as stream:
        assert {(result.prediction.k, result.decision.reason) for result in stream} == {(6, "fixed")}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"fps": 0.0}, SettingError, "no rate"),
        ({"fps": "15"}, SettingError, "fps='15' is no rate: pass a positive number of frames per second"),
        ({"smooth": "2"}, SettingError, "smooth='2' is no number of frames: pass 1 or more"),
        ({"patience_s": "5"}, SettingError, "patience_s='5' is no time: pass a positive number of seconds"),
        ({"patience_s": math.nan}, SettingError, "patience_s=nan is no time"),
        ({"min_k": 13}, SettingError, "no trained k lies between"),
        ({"k": 2}, HeadsError, "2"),
        ({"k": 4, "max_k": 6}, SettingError, "leave min_k and max_k out"),
        ({"max_temp_c": 1000.0}, SettingError, "max_temp_c"),
        ({"until_h": -1.0}, SettingError, "until_h"),
        ({"frames": "some"}, SettingError, "choose latest or all"),
        ({"on_loss": "panic"}, SettingError, "choose reconnect or exit"),
        ({"smooth": 0}, SettingError, "pass 1 or more"),
        ({"smooth": 2.5}, SettingError, "smooth=2.5 is no number of frames: pass 1 or more"),
        ({"wait_s": -1}, SettingError, "wait_s=-1 is no time: pass 0 or more seconds"),
        ({"on_event": 3}, SettingError, "on_event=3 is no function: pass one, or leave it out"),
    ],
)
def test_wrong_settings_raise_before_the_long_part(
    settings: dict[str, object], error: type[Exception], words: str, model: hydrart.Model
) -> None:
    def progress(ks: Sequence[int]) -> Iterator[int]:
        pytest.fail("nothing runs, and no source is opened")
        yield from ks

    with pytest.raises(error, match=words):
        Stream("no such file", model, progress=progress, **settings)  # type: ignore[arg-type]
    governor = hydrart.Governor(model.profile())
    with pytest.raises(SettingError, match="no rate"):
        Stream(numbered(1), model, governor=governor, fps=-1)
    with pytest.raises(SettingError, match="give max_temp_c to the Governor"):
        Stream(numbered(1), model, governor=governor, max_temp_c=70)


def test_sensors_are_opened_and_closed_with_the_stream(
    model: hydrart.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(tmp_path)
    opened: list[hydrart.Sensors] = []
    closed: list[hydrart.Sensors] = []

    class Recorded(hydrart.Sensors):
        def __init__(self, names: SensorNames | None = None) -> None:
            super().__init__(names, root=tmp_path)
            opened.append(self)

        def close(self) -> None:
            super().close()
            closed.append(self)

    monkeypatch.setattr("hydrart.stream.stream.Sensors", Recorded)
    with Stream(Rated(200.0), model, measure=False) as stream:
        assert not closed
        assert any(result.readings.get("temp_c") == 51.2 for result in itertools.islice(stream, 2000))
    assert closed == opened and len(opened) == 1
    with pytest.raises(SourceError):
        Stream("no such file", model, measure=False)
    assert closed == opened and len(opened) == 2, "also where the source cannot be opened"


def test_sensors_of_one_s_own_stay_open(model: hydrart.Model, tmp_path: Path) -> None:
    board(tmp_path)
    with hydrart.Sensors(root=tmp_path) as sensors:
        with Stream(Rated(200.0), model, measure=False, sensors=sensors) as stream:
            assert any(result.readings.get("temp_c") == 51.2 for result in itertools.islice(stream, 2000))
        deadline = time.monotonic() + PATIENCE_S
        sensors.new()
        while not sensors.new():
            assert time.monotonic() < deadline, "it is still read"
            time.sleep(0.05)


def test_a_source_is_closed_where_a_stream_cannot_begin(model: hydrart.Model) -> None:
    source = Rated(-5.0)
    with pytest.raises(SettingError):
        Stream(source, model, measure=False)
    assert source.closed.is_set()


def test_help_is_readable() -> None:
    text = pydoc.plain(pydoc.render_doc(Stream.__init__))
    assert "lambda" not in text and "function" not in text.split("\n", 2)[2]
    assert Stream.__doc__ is not None
    for name in inspect.signature(Stream).parameters:
        assert re.search(rf"\b{name}\b", Stream.__doc__), f"{name} is not explained"


def test_a_frame_that_waits_for_its_turn_does_not_age(model: hydrart.Model) -> None:
    """A pipe holds many frames already: with frames="all" each is due when its turn comes."""

    class Pipe(Camera):
        def shots(self) -> Iterator[Shot]:
            for i in range(12):
                yield Shot(np.full((8, 8, 3), i, np.uint8))

    with hydrart.Stream(Pipe(iter([])), model, fps=20, frames="all", k=3) as stream:
        results = list(stream)
    assert len(results) == 12
    captures = [result.t_capture for result in results]
    assert captures[-1] - captures[0] >= 11 / 20 * 0.9, "as they are due"
    waits = [result.age_ms - result.prediction.preprocess_ms - result.prediction.infer_ms for result in results]
    assert sorted(waits)[len(waits) // 2] < 1000 / 20, "the wait in the pipe is not in it"
    assert results[-1].t_wall - results[0].t_wall == pytest.approx(captures[-1] - captures[0], abs=0.05)


def test_a_file_as_fast_as_it_goes(model: hydrart.Model, tmp_path: Path) -> None:
    path = video(tmp_path / "x.avi", frames=30, fps=10)
    start = time.monotonic()
    with hydrart.Stream(path, model, fps=math.inf) as stream:
        assert (stream.fps, stream.source_fps, stream.answers_all) == (None, 10, True)
        results = list(stream)
    assert time.monotonic() - start < 2.9 + 30, "in real time it takes 2.9 s"
    assert {result.deadline_ms for result in results} == {None} and len(results) == 30
    assert results[-1].t_capture - results[0].t_capture < 2.9, "the frames are not paced"
    with pytest.raises(SettingError, match="fps=inf is for files"):
        hydrart.Stream(Camera(ENDLESS), model, fps=math.inf, measure=False)


@pytest.mark.parametrize("model", ["hydravit-cifar10", None])
def test_what_is_no_model(model: object) -> None:
    with pytest.raises(SettingError, match=r"is no model: pass what hydrart.load\(\) returns"):
        Stream([], model)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["governor", "sensors", "device"])
@pytest.mark.parametrize("value", [3, b"generic", object()])
def test_what_is_no_governor_no_sensors_and_no_device(name: str, value: object) -> None:
    with pytest.raises(hydrart.HydrartError, match=f"^{name}=.* is no.*: pass a "):
        Stream([], hydrart.load("hydravit-cifar10"), **{name: value})  # type: ignore[arg-type]
