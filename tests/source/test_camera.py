"""Cameras: why one does not open, what is asked of it, when it is frozen."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.errors import SourceError
from hydrart.source import v4l2
from hydrart.source.camera import Frozen
from hydrart.source.opener import Opener
from tests.support.commands import sentence

LIMIT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"


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


class Device:
    """A cv2.VideoCapture over V4L2 that gives black pictures, and notes the limit of each wait for one."""

    limits: list[str | None]

    def __init__(self, index: int | str, backend: int) -> None:
        self.set_to: dict[int, float] = {}
        self.limits = []
        Device.last = self

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, name: int, value: float) -> None:
        self.set_to[name] = value

    def get(self, name: int) -> float:
        return self.set_to.get(name, 0.0)

    def getBackendName(self) -> str:  # noqa: N802
        return "V4L2"

    def grab(self) -> bool:
        self.limits.append(os.environ.get(LIMIT))
        return len(self.limits) <= 3

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass

    last: "Device"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(
        "hydrart.source.camera.query", lambda path: v4l2.Camera(path, "x", "uvcvideo", True, False, (), ())
    )


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("before", [None, "2"])
def test_a_camera_that_gives_nothing_is_waited_for_5_s(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV reads its limit from the environment when it first waits for a frame; the environment stays as it was."""
    monkeypatch.delenv(LIMIT, raising=False)
    if before is not None:
        monkeypatch.setenv(LIMIT, before)
    shots = Opener(3).open().shots()
    assert os.environ.get(LIMIT) == before, "opening alone waits for nothing"
    next(shots)
    assert os.environ.get(LIMIT) == before
    with pytest.raises(SourceError, match="gives no more frames"):
        list(shots)
    assert Device.last.limits == [before or "5", before, before, before]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(("fps", "size", "asked"), [(None, None, (15, 640, 480)), (30, (320, 240), (30, 320, 240))])
def test_a_camera_is_asked_for_a_rate_and_a_size(
    fps: float | None, size: tuple[int, int] | None, asked: tuple[float, ...]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    source = Opener(3, fps=fps, size=size).open()
    names = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    assert tuple(Device.last.set_to[name] for name in names) == asked
    assert source.live and source.fps == asked[0] and source.detail == f"MJPG {asked[1]}x{asked[2]} at {asked[0]} fps"
