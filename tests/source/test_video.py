"""Video as FFmpeg decodes it: right pictures, or a reason."""

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from hydrart.errors import SourceError
from hydrart.source import video
from hydrart.source.opener import Opener
from hydrart.source.video import upright
from tests.support.commands import PATIENCE_S
from tests.support.videos import BLUE, GREEN, RED, colours, encode, stripes

av = pytest.importorskip("av", reason="PyAV is not installed (extra: video)")

INTERLACED: dict[str, dict[str, Any]] = {
    "h264.mp4": {"codec": "libx264", "flags": "+ilme+ildct", "x264-params": "tff=1"},
    "h264.ts": {"codec": "libx264", "flags": "+ilme+ildct", "x264-params": "bff=1"},
    "mpeg2.mpg": {"codec": "mpeg2video", "flags": "+ilme+ildct"},
    "mpeg2.ts": {"codec": "mpeg2video", "flags": "+ilme+ildct"},
    "dv.dv": {"codec": "dvvideo"},
    "dv.avi": {"codec": "dvvideo"},
}


def pictures(path: Path) -> list[Any]:
    return [shot.picture for shot in Opener(path).open().shots()]


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_pictures_are_those_of_the_source(name: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, [stripes()] * 6, **INTERLACED[name])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    found = pictures(path)
    assert len(found) == 6
    for picture in found:
        assert picture.shape == (576, 720, 3) and np.abs(colours(picture) - (RED, GREEN, BLUE)).max() < 8


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray"])
def test_pictures_of_any_format_have_their_colours(pixels: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", [stripes(120, 180)] * 3, "ffv1", pixels=pixels)
    means = colours(pictures(path)[0])
    if pixels == "gray":
        np.testing.assert_allclose(
            means, (np.array((RED, GREEN, BLUE)) @ (0.299, 0.587, 0.114))[:, None] * (1, 1, 1), atol=3
        )
    else:
        assert np.abs(means - (RED, GREEN, BLUE)).max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_with_exif_are_upright_in_videos_and_folders(orientation: int, tmp_path: Path) -> None:
    """As a camera writes them (EXIF 2.3, tag 274), mirrored ones too. FFmpeg passes the EXIF block on as side data."""
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(stripes(96, 144))
    image.paste((255, 255, 0), (0, 0, 144, 32))  # upside down differs, too
    image.save(tmp_path / "x.jpg", exif=exif, quality=95)
    (tmp_path / "x.mjpeg").write_bytes((tmp_path / "x.jpg").read_bytes() * 3)
    with Image.open(tmp_path / "x.jpg") as read:
        wanted = np.asarray(ImageOps.exif_transpose(read)).astype(int)
    found = pictures(tmp_path / "x.mjpeg") + pictures(tmp_path / "x.jpg")
    assert len(found) == 3 + 1
    for picture in found:
        assert picture.shape == wanted.shape and np.abs(picture - wanted).mean() < 4


@pytest.mark.parametrize("flags", ["+cgop", "+ilme+ildct"])
def test_a_black_video_is_answered(flags: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mp4", [np.zeros((64, 96, 3), np.uint8)] * 5, "libx264", flags=flags)
    found = pictures(path)
    assert len(found) == 5 and not np.any(found)


def test_a_picture_that_cannot_be_converted_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As swscale fails for what it does not know: OpenCV then gives the memory that it would have filled."""
    path = encode(tmp_path / "x.avi", [stripes(48, 96)] * 4, "mjpeg", pixels="yuvj420p")
    source = Opener(path).open()

    def fails(*args: object, **settings: object) -> None:
        raise av.InvalidDataError(1, "cannot convert")

    source._reader._convert = fails  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match="holds no readable frame"):
        list(source.shots())
    assert source.skipped == 4


def test_damaged_pictures_are_left_out_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(32, axis=0).repeat(32, axis=1) for _ in range(20)]
    path = encode(tmp_path / "x.ts", noise, "mpeg2video", g="5")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = rng.bytes(3000)
    path.write_bytes(data)
    told: list[str] = []
    source = Opener(path, warn=told.append).open()
    found = [shot.picture for shot in source.shots()]
    assert 0 < len(found) < 20 and source.skipped > 0
    assert f"{source.skipped} pictures could not be decoded and were left out" in told[0]
    errors = [min(np.abs(picture.astype(int) - other).mean() for other in noise) for picture in found]
    assert max(errors) < 20, "each is one of the source's: another noise differs by 85"


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_a_video_is_shown_as_a_player_shows_it(matrix: tuple[int, int, int, int], turns: int, tmp_path: Path) -> None:
    """As telephones write it: the matrix of the track header (ISO 14496-12, section 8.3.2). turns: to the left."""
    quarter = np.zeros((64, 96, 3), np.uint8)
    quarter[:32, :48] = 255  # the upper left
    path = encode(tmp_path / "x.mp4", [quarter] * 2, "libx264")
    (a, b, c, d), one = matrix, 1 << 16
    plain, turned = (
        struct.pack(">9i", *nine)
        for nine in (
            (one, 0, 0, 0, one, 0, 0, 0, 1 << 30),
            (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30),
        )
    )
    before, after = path.read_bytes().rsplit(plain, 1)
    path.write_bytes(before + turned + after)
    for picture in pictures(path):
        np.testing.assert_allclose(picture.astype(int), np.rot90(quarter, turns).astype(int), atol=60)


def test_display_matrices_of_all_turns_and_mirrors() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    one = 1 << 16
    # (m0, m1, m3, m4): a pixel at (x, y) is shown at (m0 x + m3 y, m1 x + m4 y)
    cases = {
        (one, 0, 0, one): picture,
        (-one, 0, 0, one): picture[:, ::-1],
        (one, 0, 0, -one): picture[::-1],
        (-one, 0, 0, -one): np.rot90(picture, 2),
        (0, one, -one, 0): np.rot90(picture, -1),  # x is shown downwards, y to the left: clockwise
        (0, -one, one, 0): np.rot90(picture, 1),
        (0, one, one, 0): picture.transpose(1, 0, 2),
    }
    for (m0, m1, m3, m4), expected in cases.items():
        matrix = np.array((m0, m1, 0, m3, m4, 0, 0, 0, 1 << 30), np.int32)
        np.testing.assert_array_equal(upright(picture, matrix), expected)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    text = tmp_path / "long.txt"
    text.write_text("one two three\n" * 2000)
    music = tmp_path / "music.mkv"
    with av.open(str(music), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    unknown = encode(tmp_path / "x.mp4", [stripes(48, 96)] * 3, "libx264")
    unknown.write_bytes(unknown.read_bytes().replace(b"avc1", b"zzzz"))
    for path, words in ((text, "long.txt"), (music, "holds no video"), (unknown, "PyAV does not decode")):
        with pytest.raises(SourceError, match=words):
            Opener(path).open()


def test_frames_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "x.mp4", [stripes(48, 96)] * 3)
    monkeypatch.setattr(video, "MAX_PIXELS", 4000)
    with pytest.raises(SourceError, match="frames of 96x48, more than 4,000 pixels"):
        Opener(path).open()


def test_memory_is_bounded() -> None:
    """A part of 2 GB of a stream of JPEGs. It runs in a process of its own, because the limit is that of a process."""
    code = """
import socket, threading
from hydrart.errors import SourceError
from hydrart.source.opener import Opener
server = socket.create_server(("127.0.0.1", 0))
def serve():
    client, _ = server.accept()
    client.recv(65536)
    kind = b"Content-Type: multipart/x-mixed-replace; boundary=frame\\r\\n\\r\\n"
    part = b"--frame\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: 2000000000\\r\\n\\r\\n"
    client.sendall(b"HTTP/1.0 200 OK\\r\\n" + kind + part)
    try:
        for _ in range(2000):
            client.sendall(bytes(1000000))
    except OSError:
        pass
    client.close()
threading.Thread(target=serve, daemon=True).start()
try:
    for shot in Opener(f"http://127.0.0.1:{server.getsockname()[1]}/").open().shots():
        pass
except SourceError as error:
    print(error)
with open("/proc/self/status") as status:  # not ru_maxrss, which counts the process that started this one, too
    (peak,) = [line.split()[1] for line in status if line.startswith("VmHWM")]
print(int(peak) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    said, megabytes = done.stdout.splitlines()
    assert "http://127.0.0.1" in said and int(megabytes) < 600 and not done.stderr
