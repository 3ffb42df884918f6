"""Cameras: why one does not open, what is asked of it, when it is frozen."""

from pathlib import Path

import pytest

from hydrart.source import v4l2
from hydrart.source.camera import Frozen
from tests.support.commands import sentence


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
