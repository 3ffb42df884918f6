"""Where frames come from: pixel layouts, stdin, turned and repeated pictures, URLs, what the kernel tells."""

import errno
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import PictureError, SourceError
from hydrart.picture.colour import Depth, as_rgb, turned
from hydrart.source import v4l2
from hydrart.source.camera import Frozen
from hydrart.source.opener import Opener, default_source
from hydrart.source.raw import RawSource
from hydrart.source.url import without_secrets
from tests.support.commands import PATIENCE_S, PROGRAM, call, good, json_lines, made, run_json, sentence, video

# layouts


def test_arrays_of_any_layout_become_rgb() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    assert as_rgb(rgb, Depth()) is not None and np.shares_memory(as_rgb(rgb, Depth()), rgb)
    wide = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    np.testing.assert_array_equal(as_rgb(wide[::-2, 1::3], Depth()), wide[::-2, 1::3])
    np.testing.assert_array_equal(as_rgb(np.dstack((rgb, rgb[:, :, 0])), Depth()), rgb)
    grey = np.repeat(rgb[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(as_rgb(rgb[:, :, 0], Depth()), grey)
    np.testing.assert_array_equal(as_rgb(rgb[:, :, :1], Depth()), grey)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_values_of_many_bits_keep_their_brightness(bits: int) -> None:
    bright, dark = np.full((2, 2), (1 << bits) - 1, np.uint16), np.full((2, 2), 1 << (bits - 4), np.uint16)
    guessed, told = Depth(), Depth(bits)
    for depth in (told, guessed):
        assert (as_rgb(bright, depth) == 255).all() and (as_rgb(dark, depth) == 16).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 2, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_told(array: NDArray[np.uint8], model: hydrart.Model) -> None:
    with pytest.raises(PictureError, match="is no frame"), hydrart.Stream([array], model) as stream:
        list(stream)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [None, "h", "v", "hv"])
def test_turned_as_pillow_turns(flip: str | None, degrees: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image = Image.fromarray(picture).rotate(-degrees, expand=True)
    if "h" in (flip or ""):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if "v" in (flip or ""):
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    np.testing.assert_array_equal(turned(picture, flip, degrees), np.asarray(image))
    (shot,) = Opener([picture], flip=flip, rotate=degrees).open().shots()
    np.testing.assert_array_equal(shot.picture, np.asarray(image))


def test_stamps_sizes_and_reused_buffers_of_a_program(model: hydrart.Model) -> None:
    buffer = np.zeros((8, 8, 3), np.uint8)

    def frames() -> Iterator[tuple[NDArray[np.uint8], object]]:
        for i in range(6):
            buffer[:] = 40 * i
            yield buffer, {"my": i}
        yield np.full((33, 7), 9, np.uint8), "another size, and grey"

    with hydrart.Stream(frames(), model, keep_frame=True) as stream:
        results = list(stream)
    assert [result.stamp for result in results[:6]] == [{"my": i} for i in range(6)]
    pictures = [result.picture for result in results if result.picture is not None]
    assert [int(picture[0, 0, 0]) for picture in pictures[:6]] == [40 * i for i in range(6)]
    assert results[6].stamp == "another size, and grey" and pictures[6].shape == (33, 7, 3)


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


# files


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


def test_a_damaged_video_ends_with_a_sentence(weights: Path, tmp_path: Path) -> None:
    path = video(tmp_path / "x.avi", frames=40, fps=1000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    shown = good("run", "--source", path, "--weights", weights, "--json")
    *frames, last = json_lines(shown.stdout)
    assert 0 < len(frames) < 40 and last["summary"]["frames"] == len(frames)
    assert "Traceback" not in shown.stderr
    middle = bytearray(data)
    middle[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
    path.write_bytes(middle)
    result = call("run", "--source", path, "--weights", weights, "--json")
    assert result.exit_code in (0, 1) and "summary" in json_lines(result.stdout)[-1]


@pytest.mark.parametrize("option", ["--size", "--loop"])
def test_options_that_the_source_has_no_use_for(option: str, weights: Path, album: Path) -> None:
    args = {"--size": ("--size", "640x480", "--source", album), "--loop": ("--loop", "--source", "-:2x2:gray")}[option]
    assert f"leave {option} to" in sentence("run", *args, "--weights", weights)
    assert call("run", "--size", "big").exit_code == 2


# stdin


def piped(data: bytes, form: str, *args: object) -> "subprocess.CompletedProcess[bytes]":
    command = [*PROGRAM, "run", "--source", f"-:{form}", "--json", *map(str, args)]
    return subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S)


def test_raw_frames_on_stdin(weights: Path, model: hydrart.Model) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (30, 37, 3), np.uint8) for i in range(4)]
    for form, turn in (("rgb24", slice(None)), ("bgr24", slice(None, None, -1))):
        data = b"".join(picture[:, :, turn].tobytes() for picture in pictures)
        shown = piped(data + b"part", f"37x30:{form}", "--frames", "all", "--weights", weights, "--k", 12)
        assert shown.returncode == 0, shown.stderr
        *frames, last = json_lines(shown.stdout.decode())
        assert [frame["label"] for frame in frames] == [model(picture).label for picture in pictures]
        assert last["summary"]["frames"] == 4 and b"incomplete, 4 of 3330 bytes" in shown.stderr


@pytest.mark.parametrize(
    "form", ["rgb24", "bgr24", "rgba", "bgra", "gray", "gray10le", "gray12le", "gray16le", "yuv420p"]
)
def test_every_format_on_stdin_gives_the_same_grey(form: str) -> None:
    if form == "yuv420p":
        pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    data = {
        "rgb24": b"\x80" * 48,
        "bgr24": b"\x80" * 48,
        "rgba": b"\x80" * 64,
        "bgra": b"\x80" * 64,
        "gray": b"\x80" * 16,
        "gray10le": struct.pack("<H", 0x200) * 16,
        "gray12le": struct.pack("<H", 0x800) * 16,
        "gray16le": struct.pack("<H", 0x8000) * 16,
        "yuv420p": b"\x7e" * 16 + b"\x80" * 8,  # 126 is 128 in the range of video
    }[form]
    told: list[str] = []
    read, write = os.pipe()
    os.write(write, data * 2 + data[:5])
    os.close(write)
    source = RawSource(f"-:4x4:{form}", told.append, read)
    shots = list(source.shots())
    source.close()
    os.close(read)
    assert len(shots) == 2 and len(told) == 1
    for shot in shots:
        assert shot.picture.shape == (4, 4, 3) and abs(shot.picture.astype(int) - 0x80).max() <= 1


def test_waiting_for_stdin_ends_when_it_shall() -> None:
    read, write = os.pipe()
    source = RawSource("-:4x4:gray", print, read)
    threading.Timer(0.2, source.close).start()
    assert list(source.shots()) == []
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("form", "data", "words"),
    [
        ("640x480", b"", "does not say what comes on stdin"),
        ("640x480:jpeg", b"", "does not say what comes on stdin"),
        ("0x480:rgb24", b"", "check the size"),
        ("99999x99999:rgb24", b"", "check the size"),
        ("3x3:yuv420p", b"", "check the size"),
        ("64x48:rgb24", b"too few", "stdin ended after 7 bytes"),
    ],
)
def test_stdin_that_gives_no_frame(form: str, data: bytes, words: str, weights: Path) -> None:
    shown = piped(data, form, "--weights", weights)
    assert shown.returncode == 1 and words in shown.stderr.decode().splitlines()[-1]


# URLs


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


# cameras


class Driver:
    """The kernel's side of the V4L2 calls: one camera with two formats, a fixed size and a range of sizes."""

    capabilities = 0x80000001
    busy = False

    def __call__(self, handle: int, request: int, data: bytearray) -> None:
        number = request & 0xFF
        if number == 0:
            texts = (b"uvcvideo", b"A \xff camera", b"usb")
            data[:] = struct.pack("=16s32s32s3I12x", *texts, 0, self.capabilities, self.capabilities & 1)
        elif number == 8:
            if self.busy:
                raise OSError(errno.EBUSY, "busy")
        else:
            getattr(self, {2: "format", 74: "size", 75: "rate"}[number])(struct.unpack_from("=I", data)[0], data)

    def format(self, index: int, data: bytearray) -> None:
        if index > 1:
            raise OSError(errno.EINVAL, "no more")
        data[44:48] = (b"MJPG", b"YUYV")[index]

    def size(self, index: int, data: bytearray) -> None:
        if data[4:8] == b"MJPG":
            if index > 1:
                raise OSError(errno.EINVAL, "no more")
            struct.pack_into("=3I", data, 8, 1, *((640, 480), (1280, 720))[index])
        else:
            struct.pack_into("=7I", data, 8, 3, 16, 1920, 8, 16, 1080, 8)

    def rate(self, index: int, data: bytearray) -> None:
        if index > 1 or data[4:8] == b"YUYV":
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("=3I", data, 16, 1, 1, (15, 30)[index])


def test_what_the_kernel_tells_of_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = made(tmp_path / "x.png")
    driver = Driver()
    camera = v4l2.query(str(node), driver)
    assert camera is not None
    assert (camera.name, camera.driver, camera.readable, camera.busy) == ("A \ufffd camera", "uvcvideo", True, False)
    mjpg, yuyv = camera.formats
    assert mjpg == v4l2.Format("MJPG", {(1280, 720): (30.0, 15.0), (640, 480): (30.0, 15.0)})
    assert yuyv == v4l2.Format("YUYV", {(1920, 1080): (), (16, 16): ()})
    assert camera.as_dict()["formats"][0]["sizes"][1] == {"width": 640, "height": 480, "fps": [30, 15]}
    driver.busy = True
    with open(node) as file, subprocess.Popen(["sleep", "60"], stdin=file) as holder:
        busy = v4l2.query(str(node), driver)
        holder.kill()
    assert busy is not None and busy.busy and (holder.pid, "sleep") in busy.holders
    driver.capabilities = 0x80000000
    assert v4l2.query(str(node), driver) is None, "a metadata node"
    assert v4l2.query(str(node)) is None, "a file"
    monkeypatch.setattr("hydrart.cli.cameras.cameras", lambda: [busy])
    shown = good("cameras").stdout
    assert "busy, open in sleep" in shown and "MJPG  1280x720 30/15, 640x480 30/15" in shown
    (line,) = json_lines(good("cameras", "--json").stdout)
    assert list(line) == ["path", "name", "driver", "readable", "busy", "holders", "formats", "answers"]
    assert line["busy"] and line["answers"]


def test_a_driver_that_hangs_holds_up_no_other_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "_PATIENCE_S", 0.2)
    good_one = v4l2.Camera("/dev/video2", "x", "uvcvideo", True, False, (), ())
    released = threading.Event()

    def ask(path: str) -> v4l2.Camera | None:
        match path:
            case "/dev/video0":
                released.wait()
            case "/dev/video1":
                raise FileNotFoundError(path)
            case "/dev/video2":
                return good_one
        return None

    found = v4l2.query_all([f"/dev/video{number}" for number in range(4)], ask)
    released.set()
    assert [(camera.path, camera.answers) for camera in found] == [("/dev/video0", False), ("/dev/video2", True)]
    monkeypatch.setattr("hydrart.source.opener.cameras", lambda: found)
    assert default_source() == 2
    monkeypatch.setattr("hydrart.cli.cameras.cameras", lambda: found)
    assert "/dev/video0  name unknown: its driver does not answer" in good("cameras").stdout


def test_no_camera_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.cli.cameras.cameras", list)
    shown = good("cameras")
    assert shown.stdout == "" and "no camera" in shown.stderr


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ({"readable": False}, "you may not use the camera"),
        ({"driver": "unicam"}, "hydrart run --source -:640x480:yuv420p"),
        ({"busy": True, "holders": ((42, "zoom"),)}, "zoom (process 42) uses it"),
        ({"busy": True}, "another program may use it"),
    ],
)
def test_why_a_camera_does_not_open(
    camera: dict[str, object], words: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: dict[str, object] = {
        "path": "/dev/video9",
        "name": "x",
        "driver": "uvcvideo",
        "readable": True,
        "busy": False,
        "holders": (),
        "formats": (),
    }
    monkeypatch.setattr("hydrart.source.camera.query", lambda path: v4l2.Camera(**(facts | camera)))  # type: ignore[arg-type]
    assert words in sentence("run", "--camera", 9, "--weights", weights)


def test_a_picture_without_noise_is_a_frozen_camera_once() -> None:
    frozen = Frozen()
    assert not any(frozen.add(1 + i % 2, float(i)) for i in range(20))
    assert [frozen.add(7, 20 + i) for i in range(7)] == [False] * 5 + [True, False]
    assert not any(frozen.add(7, 30.0 + i) for i in range(20)), "the same after it was opened again: a still scene"
    assert [frozen.add(8, 60.0 + i) for i in range(6)] == [False] * 5 + [True]
