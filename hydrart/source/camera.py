"""Cameras on Linux: V4L2 through OpenCV. If a camera cannot be opened, the error gives the reason."""

import contextlib
import os
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice

from hydrart.errors import NotThereError, SourceError
from hydrart.source.opencv import CaptureReader, load_cv2
from hydrart.source.shot import Shot
from hydrart.source.v4l2 import Camera, cameras, holders, query

SIZE = (640, 480)
LIVE_FPS = 15.0  # the default rate of a camera, and of a live source that states no rate
_FORMAT = "MJPG"  # raw formats are slow over USB
_FROZEN_S = 5.0
_WAIT_LIMIT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
_WAIT_LIMIT_S = "5"  # OpenCV's default is 10
# These drivers give raw sensor data, which only libcamera turns into pictures.
_CSI_DRIVERS = ("unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "csi2-cfe")


class CameraSource:
    """A V4L2 camera. It asks for MJPG. The pictures are uint8 RGB [H, W, 3].

    fps, size: the frames per second and the (width, height) that the camera gets as a request. None: 15 and 640x480.
    frozen: the detector of repeated pictures. It outlives this opening of the camera.
    """

    live = True

    def __init__(self, device: str, fps: float | None, size: tuple[int, int] | None, frozen: "Frozen") -> None:
        self.name = f"the camera {device}"
        camera = diagnose(device)
        cv2 = load_cv2(self.name)
        match = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device))
        capture = cv2.VideoCapture(int(match[1]) if match else device, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise NotThereError(f"{self.name} cannot be opened: {_held(device, camera)}")
        width, height = size or SIZE
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*_FORMAT))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        fps = fps or LIVE_FPS
        capture.set(cv2.CAP_PROP_FPS, fps)
        got = tuple(int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        pixels = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        if pixels == "Y16":
            # OpenCV takes the upper byte. The sensor may fill fewer than 16 bits, and to_rgb() detects their number.
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if 0 < rate <= 1000 else None
        asked = f"{_FORMAT} {width}x{height} at {fps:g} fps"
        obtained = f"{pixels} {got[0]}x{got[1]}{f' at {rate:g} fps' if self.fps else ''}"
        self.detail = obtained if asked == obtained else f"{obtained}; asked for {asked}"
        self._frozen = frozen
        self._reader = CaptureReader(cv2, capture)

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    def shots(self) -> Iterator[Shot]:
        shots = self._reader.shots()
        with _short_waits():
            first = list(islice(shots, 1))
        for shot in chain(first, shots):
            if shot.t_capture is not None and self._frozen.add(zlib.crc32(shot.picture[::8].tobytes()), shot.t_capture):
                raise SourceError(f"{self.name} has given the same picture for {_FROZEN_S:g} s: it is frozen")
            yield shot
        raise SourceError(f"{self.name} gives no more frames: check its cable and supply")

    def close(self) -> None:
        self._reader.close()


@contextlib.contextmanager
def _short_waits() -> Iterator[None]:
    """Limit OpenCV's waits for a frame to 5 s inside the block.

    V4L2 has no property for that limit. OpenCV reads it from the environment at its first wait in the
    process, and keeps it for all later waits.
    """
    ours = _WAIT_LIMIT not in os.environ
    if ours:
        os.environ[_WAIT_LIMIT] = _WAIT_LIMIT_S
    try:
        yield
    finally:
        if ours:
            os.environ.pop(_WAIT_LIMIT, None)


class Frozen:
    """Detect a camera that repeats one picture for 5 s. A sensor's noise changes each picture.

    One detector serves all openings of a camera. If the same picture follows a new opening, the detector accepts it.
    Then the scene is still and has no noise, for example the output of a program.
    """

    def __init__(self) -> None:
        self._picture: int | None = None
        self._since = 0.0
        self._believed: int | None = None

    def add(self, picture: int, now: float) -> bool:
        """Note a picture's checksum at `now`, in seconds. True after 5 s with the same checksum."""
        if picture != self._picture:
            self._picture, self._since = picture, now
        if picture != self._believed and now - self._since >= _FROZEN_S:
            self._believed = picture
            return True
        return False


def diagnose(device: str) -> Camera:
    """Return what the kernel knows of a camera. Raises SourceError, with the reason, if the camera cannot be opened.

    The error is a NotThereError if a later try may help.
    """
    try:
        camera = query(device)
    except (FileNotFoundError, ValueError):
        raise NotThereError(f"there is no camera {device}: {_listed()}") from None
    if camera is None:
        raise SourceError(f"{device} is no camera, it gives no pictures: {_listed()}")
    if not camera.readable:
        raise SourceError(
            f"you may not use the camera {device}: add yourself to its group with: "
            "sudo usermod -aG video $USER, then log in again"
        )
    if camera.driver in _CSI_DRIVERS:
        width, height = SIZE
        raise SourceError(
            f"{device} is a Raspberry Pi camera on the CSI port, which needs libcamera: run rpicam-vid -n -t 0 --codec "
            f"yuv420 --width {width} --height {height} -o - | hydrart run --source -:{width}x{height}:yuv420p"
        )
    if camera.busy:
        raise NotThereError(f"the camera {device} cannot be opened: {_held(device, camera)}")
    return camera


def _held(device: str, camera: Camera) -> str:
    by = ", ".join(f"{name} (process {pid})" for pid, name in camera.holders or holders(device))
    return f"{by} uses it, end that first" if by else f"another program may use it ({_listed()})"


def _listed() -> str:
    found = ", ".join(camera.path for camera in cameras())
    return f"cameras here: {found}" if found else "no camera is connected; try --source demo"
