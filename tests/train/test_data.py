"""train/data.py, through the command: folders of pictures, good and bad."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tests.support.colours import SMALL, make_colours
from tests.support.commands import good, sentence

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.errors import SourceError  # noqa: E402
from hydrart.format.reader import WeightFile  # noqa: E402
from hydrart.train.data import folders_of  # noqa: E402
from hydrart.train.recipe import TrainError  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("problem", ["one class", "empty class", "broken", "different", "missing"])
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
        "different": "hold different classes, {root}/train lacks c: make them the same",
        "missing": "is no folder",
    }[problem]
    assert words.format(root=root) in sentence(
        "train", "--data", root, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL
    )
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


def test_a_batch_that_the_pictures_do_not_fill_shrinks(tmp_path: Path) -> None:
    make_colours(tmp_path, 5)
    options = ("--data", tmp_path, "--epochs", 2, *SMALL[:-4], "--threads", 1)
    result = good("train", *options, "-o", tmp_path / "x.safetensors")
    assert "note: 10 pictures fill no batch of 128: the batch is 10" in result.stderr
    (run,) = WeightFile(tmp_path / "x.safetensors").meta.history
    assert (run["batch"], run["steps"], run["epochs"]) == (10, 2, 2.0)
    again = good("train", *options, "-o", tmp_path / "x.safetensors", "--resume")
    assert again.stdout == result.stdout
    good("train-teacher", "--data", tmp_path, "--epochs", 1, "--image-size", 16, "-o", tmp_path / "x.pth")


def test_classes_are_found_by_name_in_both_halves(tmp_path: Path) -> None:
    make_colours(tmp_path, 8)
    for part, red, blue in (("train", "été", "Zoo"), ("test", unicodedata.normalize("NFD", "été"), "zoo")):
        (tmp_path / part / "red").rename(tmp_path / part / red)
        (tmp_path / part / "blue").rename(tmp_path / part / blue)
    options = ("--data", tmp_path, "--epochs", 12, "--heads", "3,4", *SMALL)
    good("train", *options, "-o", tmp_path / "x.safetensors")
    meta = WeightFile(tmp_path / "x.safetensors").meta
    assert meta.labels == ("Zoo", "été") and meta.accuracy is not None and meta.accuracy.top1[4] > 0.9
    train, test = folders_of(tmp_path)
    assert list(train) == list(test) == ["Zoo", "été"]
    assert {path.parent.name for path in test["Zoo"]} == {"zoo"}


def test_classes_that_differ_are_named(tmp_path: Path) -> None:
    make_colours(tmp_path, 2)
    (tmp_path / "train/green").mkdir()
    with pytest.raises(TrainError, match=f"{tmp_path}/test lacks green: make them the same"):
        folders_of(tmp_path)
    (tmp_path / "train/green").rmdir()
    (tmp_path / "test/Red").mkdir()
    with pytest.raises(SourceError, match="the folders Red and red are both the class red"):
        folders_of(tmp_path)
    (tmp_path / "train/Red").mkdir()
    (tmp_path / "test/red").rename(tmp_path / "test/none")
    (tmp_path / "test/none").rename(tmp_path / "none")
    with pytest.raises(TrainError, match=f"{tmp_path}/test lacks red"):
        folders_of(tmp_path)
    for name in ("é", unicodedata.normalize("NFD", "é")):
        (tmp_path / "train" / name).mkdir()
    with pytest.raises(TrainError, match="holds two folders called é"):
        folders_of(tmp_path)


def test_names_of_folders_that_cannot_be_labels(tmp_path: Path) -> None:
    make_colours(tmp_path, 1)
    for part in ("train", "test"):
        (tmp_path / part / "two\nlines").mkdir()
    with pytest.raises(TrainError, match=r"the folder 'two\\nlines', whose name cannot be a label: rename it"):
        folders_of(tmp_path)
