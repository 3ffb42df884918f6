"""The video of a run."""

from pathlib import Path

import numpy as np
import pytest

import hydrart
from tests.support.commands import run_json, sentence


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_video_holds_every_frame_with_its_label(suffix: str, weights: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = tmp_path / f"out.{suffix}"
    frames, _ = run_json(
        "--source", "demo", "--weights", weights, "--fps", 30, "--max-frames", 9, "--save-video", path, "--loop"
    )
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 30
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    capture.release()
    (clip,) = [shot.picture for shot in hydrart.Opener("demo").open().shots()][:1]
    assert len(pictures) == len(frames) == 9
    height, width, _ = pictures[0].shape
    assert (height, width) == (clip.shape[0] // 2 * 2, clip.shape[1] // 2 * 2)
    plain = clip[:height, :width, ::-1].astype(int)
    changed = abs(pictures[0] - plain)
    assert np.median(changed[: height // 2]) < 12, "the picture itself"
    assert (pictures[0][-25:, :60].max(axis=2) < 40).any() and (pictures[0][-25:, :200].min(axis=2) > 200).any(), "text"


@pytest.mark.parametrize(("name", "words"), [("x.txt", "end it with one of"), ("no/x.avi", "is no folder")])
def test_videos_that_cannot_be_written(name: str, words: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    args = ("run", "--source", "demo", "--weights", weights, "--save-video", tmp_path / name)
    assert words in sentence(*args)
