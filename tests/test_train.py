"""The training tool, on a made-up data set of red and blue pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

import train  # noqa: E402

import hydrart  # noqa: E402
from hydrart.preprocess import Preprocessing  # noqa: E402
from hydrart.weightfile import WeightFile  # noqa: E402

SMALL = ["--depth", "1", "--patch", "8", "--image-size", "16", "--batch", "8", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with 16 red and 16 blue pictures each."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label, channel in (("red", 0), ("blue", 2)):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(16):
                picture = rng.integers(0, 80, (20, 24, 3), np.uint8)
                picture[:, :, channel] += 150
                Image.fromarray(picture).save(folder / f"{i}.png")
    return root


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(train.main, [str(argument) for argument in arguments])


def test_a_run_ends_with_a_weight_file_that_knows_its_accuracy(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "colours.safetensors"
    result = run("--data", data, "-o", output, "--epochs", 12, "--dataset", "colours", "--licence", "MIT", *SMALL)
    assert result.exit_code == 0, result.output
    model = hydrart.load(output)
    assert model.heads == tuple(range(3, 13)) and model.labels == ("blue", "red")
    meta = WeightFile(output).meta
    assert meta.licence == "MIT" and meta.source == "colours.pth" and len(meta.source_sha256) == 64
    assert meta.accuracy is not None
    assert (meta.accuracy.dataset, meta.accuracy.pictures) == ("colours", 32)
    assert meta.accuracy.top1[12] > 0.9, "red and blue can be told apart"
    for k in (3, 12):
        right = sum(model(path, k).label == path.parent.name for path in (data / "test").glob("*/*.png"))
        assert right / 32 == meta.accuracy.top1[k]


def recipe(**changes: Any) -> train.Recipe:
    settings: dict[str, Any] = {
        "heads": (3, 6, 12),
        "head_dim": 16,
        "depth": 1,
        "patch": 8,
        "image_size": 16,
        "epochs": 3,
        "batch": 8,
        "lr": 1e-3,
        "weights": (1.0, 1.0, 2.0),
        "seed": 5,
    }
    return train.Recipe(**(settings | changes))


def test_a_resumed_run_ends_as_an_uninterrupted_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = train.read_folder(data / "train", Preprocessing(16, crop=1.0))
    whole = train.train(pictures, recipe(), tmp_path / "a.pth", False, 1e9).state_dict()

    batches = train.batches

    def interrupted(*arguments: Any) -> Any:
        for batch in batches(*arguments):
            if batch[0] == 7:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(train, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(pictures, recipe(), tmp_path / "b.pth", False, 0.0)
    monkeypatch.undo()
    assert torch.load(tmp_path / "b.pth", weights_only=True)["step"] == 7
    resumed = train.train(pictures, recipe(), tmp_path / "b.pth", True, 1e9).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_another_recipe_does_not_resume(data: Path, tmp_path: Path) -> None:
    pictures = train.read_folder(data / "train", Preprocessing(16, crop=1.0))
    train.train(pictures, recipe(epochs=1), tmp_path / "a.pth", False, 1e9)
    with pytest.raises(train.TrainError, match="belongs to another recipe"):
        train.train(pictures, recipe(epochs=2), tmp_path / "a.pth", True, 1e9)


def test_ks_are_drawn_by_weight(data: Path) -> None:
    pictures = train.read_folder(data / "train", Preprocessing(16, crop=1.0))
    ks = [k for _, _, _, k in train.batches(pictures, recipe(epochs=200), 0)]
    assert set(ks) == {3, 6, 12}
    assert 0.45 < ks.count(12) / len(ks) < 0.55


def test_augmentation_moves_and_mirrors_but_keeps_the_pixels() -> None:
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
    seen = [train.augment(x, np.random.default_rng(i), 1) for i in range(20)]
    assert all(y.shape == x.shape and y.dtype == torch.uint8 for y in seen)
    assert len({y.numpy().tobytes() for y in seen}) > 10
    plain = [y for y in (train.augment(x, np.random.default_rng(i), 0) for i in range(20)) if torch.equal(y, x)]
    assert plain, "without padding and mirroring nothing changes"


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
            else:
                Image.new("RGB", (16, 16)).save(folder / "x.png")
    if problem == "different":
        (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    root = tmp_path / "nowhere" if problem == "missing" else tmp_path
    result = run("--data", root, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL)
    assert result.exit_code == 1
    words = {
        "one class": "at least two",
        "empty class": "b holds no readable picture",
        "broken": "b holds no readable picture",
        "different": "hold different classes",
        "missing": "is no folder",
        "batch": "give a smaller --batch",
    }[problem]
    message = result.stderr.splitlines()[-1]
    assert message.startswith("hydrart: ") and words in message
    assert not (tmp_path / "x.safetensors").exists()
