"""Which source a name opens, and the settings that every source has."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import SourceError
from hydrart.source.opener import Opener
from hydrart.stream.stream import Stream
from tests.support.commands import call, made, run_json, sentence, video


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


def test_a_source_of_one_s_own_is_opened_by_a_function(model: hydrart.Model) -> None:
    class Two:
        name, detail, live, fps, skipped = "two", "", False, None, 0

        def shots(self) -> Iterator[hydrart.Shot]:
            for i in range(2):
                yield hydrart.Shot(np.zeros((4, 4, 3), np.uint8), stamp=i)

        def close(self) -> None:
            pass

    with hydrart.Stream(Two, model) as stream:
        assert [result.stamp for result in stream] == [0, 1]


def test_files_play_over_and_over(album: Path, weights: Path, tmp_path: Path) -> None:
    for source in (album, video(tmp_path / "x.avi", frames=3, fps=1000), "demo"):
        frames, _ = run_json("--source", source, "--loop", "--max-frames", 12, "--weights", weights, "--fps", 1000)
        assert [frame["frame"] for frame in frames] == list(range(12))
    (lost := made(tmp_path / "lost.png")).chmod(0o600)
    opened = Opener(lost, loop=True).open()
    shots = opened.shots()
    next(shots)
    lost.unlink()
    with pytest.raises(SourceError, match="does not exist"):
        list(shots)


@pytest.mark.parametrize("option", ["--size", "--loop"])
def test_options_that_the_source_has_no_use_for(option: str, weights: Path, album: Path) -> None:
    args = {"--size": ("--size", "640x480", "--source", album), "--loop": ("--loop", "--source", "-:2x2:gray")}[option]
    assert f"leave {option} to" in sentence("run", *args, "--weights", weights)
    assert call("run", "--size", "big").exit_code == 2


def test_an_iterable_may_be_live(model: hydrart.Model) -> None:
    assert not Opener(iter([])).open().live
    assert Opener(iter([]), live=True).open().live
    with pytest.raises(SourceError, match="leave live= to iterables"):
        Opener("demo", live=True).open()
    slow = threading.Event()

    def topic() -> Iterator[NDArray[np.uint8]]:
        for i in range(60):
            slow.wait(0.002)
            yield np.full((8, 8, 3), i, np.uint8)

    with hydrart.Stream(Opener(topic(), live=True), model) as stream:
        results = list(stream)
    assert len(results) < 60 == results[-1].frame + 1, "old frames are dropped, the last is answered"
    assert {result.deadline_ms for result in results} == {1000 / 15}
