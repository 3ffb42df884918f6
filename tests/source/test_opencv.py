"""Videos and pictures as OpenCV reads them."""

import os
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.picture.colour import Depth
from hydrart.source.opencv import to_rgb
from hydrart.source.opener import Opener
from hydrart.stream.stream import Stream
from tests.support.commands import call, good, json_lines, video


def test_video_file(tmp_path: Path, model: hydrart.Model) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = str(tmp_path / "x.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for _ in range(6):
        writer.write(np.full((48, 64, 3), (255, 0, 0), np.uint8))  # OpenCV writes BGR: this is blue
    writer.release()
    source = Opener(path).open()
    assert source.fps == 10 and not source.live
    with Stream(source, model, keep_frame=True) as stream:
        results = list(stream)
    assert len(results) == 6
    assert results[0].picture is not None
    red, green, blue = results[0].picture[24, 32].tolist()
    assert blue > 200 and red < 50 and green < 50, "colours are RGB"


def test_opencv_pictures_of_any_kind_become_rgb() -> None:
    bgr = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(to_rgb(bgr, Depth()), bgr[:, :, ::-1])
    bgra = np.concatenate((bgr, bgr[:, :, :1]), axis=2)
    np.testing.assert_array_equal(to_rgb(bgra, Depth()), bgr[:, :, ::-1])
    grey = bgr[:, :, 0]
    np.testing.assert_array_equal(to_rgb(grey, Depth()), np.stack((grey,) * 3, axis=2))
    np.testing.assert_array_equal(to_rgb(bgr.astype(np.uint16) << 8, Depth(16)), bgr[:, :, ::-1])


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
