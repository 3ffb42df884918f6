"""train/train_teacher.py, through the command."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import call, good

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.picture.preprocess import read_picture, square  # noqa: E402
from hydrart.train import convnet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def taught(*arguments: Any) -> str:
    """Train a teacher; the accuracy that it prints."""
    options = ("--image-size", 16, "--batch", 8, "--threads", 1, "--epochs", 4)
    return good("train-teacher", *options, *arguments).stdout.strip()


def test_the_file_answers_as_it_did_in_the_training(data: Path, teacher: Path) -> None:
    trained = convnet.read(teacher)
    assert trained is not None
    assert trained.labels == ["blue", "red"] and trained.preprocessing.size == 16
    assert torch.load(teacher, weights_only=True)["top1"] > 0.9
    spec = trained.preprocessing
    for number, label in enumerate(trained.labels):
        pictures = [read_picture(file) for file in sorted((data / "test" / label).iterdir())]
        x = torch.stack(
            [
                (torch.tensor(square(picture, spec)) / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
                for picture in pictures
            ]
        )
        assert (trained.model(x.permute(0, 3, 1, 2)).argmax(1) == number).float().mean() > 0.9


def test_a_finished_training_goes_on_with_the_same_answer(data: Path, teacher: Path) -> None:
    before = torch.load(teacher, weights_only=True)["state_dict"]
    assert float(taught("--data", data, "-o", teacher, "--resume").rstrip("%")) > 90
    after = torch.load(teacher, weights_only=True)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command, name in (("train", "x.safetensors"), ("train-teacher", "x.pth")):
        result = call(command, "--data", data, "-o", tmp_path / "file" / name, "--threads", 1)
        assert result.exit_code == 1 and "cannot be made (" in result.stderr and "Reading" not in result.stderr
