"""Cameras on Linux: V4L2 through OpenCV, with a reason when one cannot be opened."""

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SourceError
from hydrart.stream.opencv import load_cv2, to_rgb

WIDTH, HEIGHT = 640, 480

# linux/videodev2.h
_VIDIOC_QUERYCAP = 0x80685600
_CAPTURE = 0x00000001 | 0x00001000  # single- and multi-planar
_DEVICE_CAPS = 0x80000000


class CameraSource:
    """A V4L2 camera at 640x480, MJPG where it has it (raw formats are slow over USB), colours as RGB."""

    live = True
    skipped = 0

    def __init__(self, device: str, fps: float | None) -> None:
        self.name = device
        diagnose(device)
        cv2 = load_cv2(f"the camera {device}")
        match = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device))
        self._capture = cv2.VideoCapture(int(match[1]) if match else device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceError(f"the camera {device} cannot be opened: another program may use it ({_listed()})")
        capture = self._capture
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, WIDTH)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT)
        if fps:
            capture.set(cv2.CAP_PROP_FPS, fps)
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if 0 < rate <= 1000 else None
        self.name = f"{device} ({width}x{height}{f', {rate:g} fps' if self.fps else ''})"

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            good, picture = self._capture.read()
            if not good:
                raise SourceError(f"the camera {self.name} gives no more frames: check its cable and supply")
            yield to_rgb(picture)

    def close(self) -> None:
        self._capture.release()


def cameras() -> list[int]:
    """The numbers of the video devices that give pictures, or that may not be asked."""
    matches = (re.fullmatch(r"video(\d+)", path.name) for path in Path("/dev").glob("video*"))
    return sorted(int(match[1]) for match in matches if match and _captures(Path("/dev", match[0])))


def _captures(device: Path) -> bool:
    """Whether V4L2 lists video capture among what the node can do: decoders and metadata nodes cannot."""
    answer = bytearray(104)  # struct v4l2_capability
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.ioctl(handle, _VIDIOC_QUERYCAP, answer)
    except OSError:
        return False
    finally:
        os.close(handle)
    capabilities, of_node = struct.unpack_from("=II", answer, 84)
    return bool((of_node if capabilities & _DEVICE_CAPS else capabilities) & _CAPTURE)


def diagnose(device: str) -> None:
    """Raise SourceError with the reason where a camera can be seen not to open."""
    if not os.path.exists(device):
        raise SourceError(f"there is no camera {device}: {_listed()}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"you may not use the camera {device}: add yourself to its group with: "
            "sudo usermod -aG video $USER, then log in again"
        )
    if not _captures(Path(device)):
        raise SourceError(f"{device} is no camera, it gives no pictures: {_listed()}")


def _listed() -> str:
    found = ", ".join(f"/dev/video{n}" for n in cameras())
    return f"cameras here: {found}" if found else "no camera is connected; try --source demo"
