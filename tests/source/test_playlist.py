"""Several files one after the other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hydrart.errors import SourceError
from hydrart.source.opener import Opener
from tests.support.commands import made, run_json
from tests.support.videos import encode, stripes


def test_a_glob_of_videos_and_pictures(tmp_path: Path, weights: Path) -> None:
    for name, frames, fps in (("a.mp4", 4, 20), ("c.avi", 3, 10)):
        encode(tmp_path / name, [stripes(48, 96)] * frames, fps=fps)
    (tmp_path / "b.mkv").write_bytes(b"no video")
    made(tmp_path / "d.png")
    made(tmp_path / "e.jpg")
    told: list[str] = []
    source = Opener(str(tmp_path / "*"), warn=told.append).open()
    assert source.fps == 20 and not source.live
    files = [Path(shot.file or "").name for shot in source.shots()]
    assert files == ["a.mp4"] * 4 + ["c.avi"] * 3 + ["d.png", "e.jpg"]
    assert source.skipped == 1 and len(told) == 1 and "b.mkv is neither a picture nor a video" in told[0]
    lines, summary = run_json(str(tmp_path / "*.[am]*"), "--weights", weights, "--fps", "max")
    assert len(lines) == 7 and summary["skipped"] == 1


def test_nothing_readable_is_told(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"no video")
    told: list[str] = []
    source = Opener(str(tmp_path / "*.mp4"), warn=told.append).open()
    with pytest.raises(SourceError, match="all 2 files failed"):
        list(source.shots())
    assert source.skipped == 2 == len(told)


def test_closing_ends_it(tmp_path: Path) -> None:
    for name in ("a.avi", "b.avi"):
        encode(tmp_path / name, [stripes(48, 96)] * 5)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "c.png")
    source = Opener(str(tmp_path / "*")).open()
    shots = source.shots()
    next(shots)
    source.close()
    assert len(list(shots)) < 2
