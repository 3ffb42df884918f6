"""What the kernel knows of cameras."""

import errno
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from hydrart.source import v4l2
from hydrart.source.opener import default_source
from tests.support.commands import good, json_lines, made


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
