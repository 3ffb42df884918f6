"""Sources that fail while they run: lost, silent, hanging, asleep; and what a stream makes of it."""

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

import hydrart
from hydrart.errors import SourceError
from hydrart.source.shot import Shot
from hydrart.stream import watch
from hydrart.stream.events import STATES, Event
from tests.support.commands import PATIENCE_S
from tests.support.sources import ENDLESS, Camera


class Openings:
    """Opens a camera for each script in turn; a script that is an exception is an opening that fails."""

    def __init__(self, *scripts: object) -> None:
        self._scripts = iter(scripts)
        self.cameras: list[Camera] = []

    def __call__(self) -> Camera:
        script = next(self._scripts)
        if isinstance(script, Exception):
            raise script
        assert isinstance(script, list | itertools.repeat)
        self.cameras.append(Camera(iter(script)))
        return self.cameras[-1]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FIRST_PAUSE_S", 0.01)


def test_a_lost_camera_is_opened_again_and_frames_count_on(model: hydrart.Model) -> None:
    lost = SourceError("unplugged")
    openings = Openings(["frame", "frame", lost], OSError("no such device"), SourceError("not there yet"), ENDLESS)
    events: list[Event] = []
    with hydrart.Stream(openings, model, frames="all", on_event=events.append) as stream:
        answers = iter(stream)
        results = list(itertools.islice(answers, 6))
        assert stream.state == "running"
    del answers  # the loop ends with its generator
    assert [result.frame for result in results] == list(range(6)) and sum(result.dropped for result in results) == 0
    assert [event.state for event in events if event.state != "stalled"] == [
        "opening",
        "running",
        "reconnecting",
        "reconnecting",
        "reconnecting",
        "running",
        "ended",
    ]
    assert set(STATES) > {event.state for event in events}
    lost_by = [event.reason.split(";")[0] for event in events if event.state == "reconnecting"]
    assert lost_by == ["unplugged", "no such device", "not there yet"]
    assert events[1].reason == "640x480" and all(camera.closed.is_set() for camera in openings.cameras)
    moments = [event.t_mono for event in events]
    assert moments == sorted(moments) and stream.state == "ended"


def test_pauses_grow_and_begin_anew(model: hydrart.Model) -> None:
    lost = SourceError("lost")
    openings = Openings([lost], lost, lost, ["frame", lost], ENDLESS)
    reasons: list[str] = []
    with hydrart.Stream(openings, model, on_event=lambda event: reasons.append(event.reason)) as stream:
        list(itertools.islice(stream, 2))
    pauses = [reason.split("next try in ")[1] for reason in reasons if "next try" in reason]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s", "0.01 s"]


@pytest.mark.parametrize("source", ["exit", "an open source"])
def test_a_lost_camera_ends_the_stream_if_it_shall_or_must(source: str, model: hydrart.Model) -> None:
    script: list[object] = ["frame", SourceError("unplugged")]
    opened: object = Openings(script) if source == "exit" else Camera(iter(script))
    on_loss = "exit" if source == "exit" else "reconnect"
    events: list[Event] = []
    with hydrart.Stream(opened, model, on_loss=on_loss, on_event=events.append) as stream:
        results = iter(stream)
        next(results)
        with pytest.raises(SourceError, match="unplugged"):
            list(results)
    assert (events[-1].state, events[-1].reason) == ("ended", "unplugged") and stream.stats()["frames"] == 1


def test_a_read_that_hangs_is_left_behind(model: hydrart.Model) -> None:
    hang = threading.Event()
    openings = Openings(["frame", hang, "frame"], *[ENDLESS] * 9)
    events: list[Event] = []
    with hydrart.Stream(openings, model, patience_s=1.0, on_event=events.append) as stream:
        results = list(itertools.islice(stream, 5))
    states = [event.state for event in events]
    assert states[:5] == ["opening", "running", "stalled", "reconnecting", "running"] and states[-1] == "ended"
    assert [result.frame for result in results] == sorted({result.frame for result in results})
    assert "gave no frame" in events[3].reason
    hang.set()
    assert openings.cameras[0].closed.wait(PATIENCE_S), "it is closed once its read returns"


def test_reads_that_hang_do_not_pile_up(model: hydrart.Model) -> None:
    hang = threading.Event()
    openings = Openings(*[[hang] for _ in range(9)])
    with hydrart.Stream(openings, model, patience_s=0.05) as stream, pytest.raises(SourceError, match="never returned"):
        list(stream)
    assert len(openings.cameras) == 3
    hang.set()


def test_an_opening_that_hangs_is_left_behind(model: hydrart.Model) -> None:
    hang = threading.Event()

    class Slow(Openings):
        def __call__(self) -> Camera:
            if len(self.cameras) == 1 and not hang.is_set():
                hang.wait(PATIENCE_S)
            return super().__call__()

    openings = Slow(["frame", SourceError("lost")], *[ENDLESS] * 9)
    reasons: list[str] = []

    def on_event(event: Event) -> None:
        reasons.append(event.reason)
        if "gave no frame" in event.reason:
            hang.set()

    with hydrart.Stream(openings, model, patience_s=0.5, on_event=on_event) as stream:
        assert len(list(itertools.islice(stream, 4))) == 4
    assert any("gave no frame" in reason for reason in reasons)


@pytest.mark.parametrize("where", ["running", "pause", "hang"])
def test_stopping_is_quick_wherever_it_is(where: str, model: hydrart.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    scripts: dict[str, list[object]] = {
        "running": [ENDLESS],
        "pause": [[SourceError("lost")]],
        "hang": [[hang]],
    }
    monkeypatch.setattr(watch, "_FIRST_PAUSE_S", 600.0)
    stream = hydrart.Stream(Openings(*scripts[where]), model)
    threading.Timer(0.3, stream.stop).start()
    threading.Timer(0.6, hang.set).start()
    list(stream)
    stream.close()
    assert stream.state == "ended"


def test_a_frame_from_before_the_machine_slept_is_left_out(
    model: hydrart.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspended, time.monotonic() stands still: the frame in the mailbox looks fresh."""
    slept = [0.0]
    monkeypatch.setattr("hydrart.stream.capture.asleep_s", lambda: slept[0])
    monkeypatch.setattr("hydrart.stream.watch.asleep_s", lambda: slept[0])
    wake = threading.Event()
    events: list[Event] = []
    source = Camera(iter(["frame", "frame", wake, "frame"]))
    with hydrart.Stream(source, model, frames="all", on_event=events.append) as stream:
        results = iter(stream)
        next(results)
        deadline = time.monotonic() + PATIENCE_S
        while stream.stats()["camera_fps"] == 0 or stream._watch.seen < 2:  # the second lies in the mailbox
            assert time.monotonic() < deadline
            time.sleep(0.01)
        slept[0] = 3600.0
        wake.set()
        second = next(results)
    assert second.frame == 2 and second.dropped == 1
    assert "the machine slept for 3600 s" in next(event.reason for event in events if event.state == "stalled")


def test_a_callback_that_fails_is_told(model: hydrart.Model) -> None:
    def on_event(event: Event) -> None:
        raise ZeroDivisionError

    with hydrart.Stream(Openings(ENDLESS), model, on_event=on_event) as stream, pytest.raises(ZeroDivisionError):
        list(stream)


def test_a_clock_that_jumps_is_no_silence(model: hydrart.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a pause of the whole machine, or of this process."""
    offset = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr("hydrart.stream.watch.time.monotonic", lambda: monotonic() + offset[0])

    class Late(Camera):
        def shots(self) -> Iterator[Shot]:
            for i, shot in enumerate(super().shots()):
                if i == 3:
                    offset[0] = 1000.0
                    self.closed.wait(0.3)
                yield shot

    events: list[Event] = []
    with hydrart.Stream(lambda: Late(ENDLESS), model, frames="all", on_event=events.append) as stream:
        results = list(itertools.islice(stream, 8))
    assert [result.frame for result in results] == list(range(8))
    assert "reconnecting" not in [event.state for event in events]


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_a_wall_clock_that_is_set_changes_nothing_but_stamps(
    jump_s: float, model: hydrart.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, offset, events = time.time, [0.0], list[Event]()
    monkeypatch.setattr("time.time", lambda: wall() + offset[0])
    results = []
    with hydrart.Stream(lambda: Camera(ENDLESS), model, fps=50, frames="all", on_event=events.append) as stream:
        for result in itertools.islice(stream, 8):
            results.append(result)
            offset[0] = jump_s if len(results) == 4 else offset[0]
        stats = stream.stats()
    assert [result.frame for result in results] == list(range(8)) and stats["seconds"] < PATIENCE_S
    assert all(0 < result.age_ms < 1000 * PATIENCE_S for result in results)
    assert abs(results[-1].t_wall - results[0].t_wall - jump_s) < PATIENCE_S
    assert "reconnecting" not in [event.state for event in events]
