"""train/data.py, through the command: folders of pictures, good and bad."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.colours import SMALL, make_colours
from tests.support.commands import good, sentence

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.format.reader import WeightFile  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("problem", ["one class", "empty class", "broken", "different", "missing", "batch"])
def test_data_that_cannot_be_trained_on(problem: str, tmp_path: Path) -> None:
    classes = {"one class": ["a"]}.get(problem, ["a", "b"])
    for part in ("train", "test"):
        for name in classes:
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            if problem == "empty class" and name == "b":
                continue
            if problem == "broken" and name == "b":
                (folder / "x.png").write_bytes(b"nothing")
                (folder / "y.jpg").write_bytes(b"\xff\xd8\xff")
            else:
                Image.new("RGB", (16, 16)).save(folder / "x.png")
    if problem == "different":
        (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    root = tmp_path / "nowhere" if problem == "missing" else tmp_path
    words = {
        "one class": "at least two",
        "empty class": "b holds no readable picture",
        "broken": "b holds no readable picture",
        "different": "hold different classes",
        "missing": "is no folder",
        "batch": "give a smaller --batch",
    }[problem]
    assert words in sentence("train", "--data", root, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL)
    assert not (tmp_path / "x.safetensors").exists()


def test_single_unreadable_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    make_colours(tmp_path, 8)
    (tmp_path / "train" / "red" / "broken.jpg").write_bytes(b"nothing")
    result = good("train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL)
    assert "skipped: " in result.stderr and "broken.jpg" in result.stderr
    assert WeightFile(tmp_path / "x.safetensors").meta.history[0]["pictures"] == 16


def test_pictures_are_normalised_by_their_own_mean(data: Path, trained: Path) -> None:
    spec = WeightFile(trained).meta.preprocessing
    assert spec.crop == 1.0
    assert spec.mean == pytest.approx((115 / 255, 40 / 255, 115 / 255), abs=0.02)
    assert spec.std[1] < 0.1 < spec.std[0]
