"""Which source a name opens, and the settings that every source has."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import SettingError, SourceError
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


@pytest.mark.parametrize(
    "source", [True, -1, 1.5, float("nan"), None, b"demo", bytearray(b"demo"), {}, {"a": 1}, object(), io.BytesIO(b"x")]
)
def test_what_can_be_no_source(source: object) -> None:
    with pytest.raises(SourceError, match=r"^source=.* is no source: pass a camera number, a path, a URL or an"):
        Opener(source)


@pytest.mark.parametrize("source", [lambda: None, dict, type("Half", (), {"shots": None})()])
def test_what_lacks_the_interface_of_a_source(source: object) -> None:
    with pytest.raises(SourceError, match=r"^a .* is no source: it needs name, detail, live, fps"):
        Opener(source).open()


@pytest.mark.parametrize("name", ["fps", "size", "flip", "rotate", "loop", "live", "bgr", "warn"])
@pytest.mark.parametrize("value", ["x", [], -1, object(), np.zeros(2)])
def test_settings_of_a_wrong_type(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(SettingError, match=f"^{name}=.* is no "):
        Opener([], **settings)


def test_a_camera_s_number_may_be_numpy_s(tmp_path: Path) -> None:
    assert Opener(np.int64(3)).name == "the camera /dev/video3" and Opener(np.int64(3)).repeatable


def test_a_file_url_is_a_file(tmp_path: Path, model: hydrart.Model) -> None:
    path = made(tmp_path / "a b.png")
    with hydrart.Stream(path.as_uri(), model, measure=False) as stream:
        assert [result.source_name for result in stream] == [str(path)]


def test_colours_in_the_order_of_opencv(model: hydrart.Model) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), np.uint8)
    bgr = rgb[..., ::-1]
    for source in (bgr, list(bgr), iter(bgr), ((picture, "stamp") for picture in bgr)):
        with hydrart.Stream(source, model, keep_frame=True, measure=False, bgr=True) as stream:
            found = [result.picture for result in stream]
        np.testing.assert_array_equal(found, rgb)
    assert [model(picture, bgr=True).label for picture in bgr] == [model(picture).label for picture in rgb]
    np.testing.assert_array_equal(next(iter(Opener(bgr[0], bgr=True).open().shots())).picture, rgb[0])
    with pytest.raises(SourceError, match="knows its colours: leave bgr= to arrays"):
        Opener("demo", bgr=True).open()
    with pytest.raises(SettingError, match="give bgr to the Opener"):
        hydrart.Stream(Opener(bgr), model, bgr=True)


def test_a_single_picture_is_a_source(model: hydrart.Model) -> None:
    image = Image.fromarray(np.full((9, 9, 3), 7, np.uint8))
    with hydrart.Stream(image, model, keep_frame=True, measure=False) as stream:
        (result,) = stream
    np.testing.assert_array_equal(result.picture, np.asarray(image))
