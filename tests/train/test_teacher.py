"""The convolutional teacher: its training, its file, what a student learns from it."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import SMALL
from tests.support.commands import call, good, json_lines, sentence
from tests.support.json_page import check

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.format.reader import WeightFile  # noqa: E402
from hydrart.picture.preprocess import fit, read_picture  # noqa: E402
from hydrart.train import convnet  # noqa: E402
from hydrart.train.convnet import ConvNet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("new") / "folder" / "teacher.pth"
    (line,) = json_lines(taught("--data", data, "-o", output, "--json"))
    check("hydrart train-teacher", [line])
    assert line["top1"] > 0.9
    return output


def taught(*arguments: Any) -> str:
    """Train a teacher; the accuracy that is told."""
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
                (torch.tensor(fit(picture, spec)) / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
                for picture in pictures
            ]
        )
        assert (trained.model(x.permute(0, 3, 1, 2)).argmax(1) == number).float().mean() > 0.9


def test_a_finished_training_goes_on_with_the_same_answer(data: Path, teacher: Path) -> None:
    before = torch.load(teacher, weights_only=True)["state_dict"]
    taught("--data", data, "-o", teacher, "--resume")
    after = torch.load(teacher, weights_only=True)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_student_learns_from_it_alone(data: Path, teacher: Path, tmp_path: Path) -> None:
    good(
        "train", "--data", data, "-o", tmp_path / "x.safetensors", "--teacher", teacher, "--distill", 1,
        "--epochs", 12, "--heads", "3,4", *SMALL, "--image-size", 24,
    )  # fmt: skip
    meta = WeightFile(tmp_path / "x.safetensors").meta
    assert meta.accuracy is not None and meta.accuracy.top1[4] > 0.9
    assert meta.history[0]["teacher"] == "teacher.pth"


def test_statistics_are_those_of_the_pictures_that_were_shown() -> None:
    torch.manual_seed(0)
    model = ConvNet(2)
    x = torch.randn(64, 3, 16, 16)
    finished = convnet.calibrated(model.state_dict(), 2, [x])
    model.train()
    assert (finished(x) - model(x)).abs().max() < 0.05, "both normalise by the same batch"


@pytest.mark.parametrize("damage", ["labels", "state_dict", "mean", "weights"])
def test_a_damaged_file_is_told(data: Path, teacher: Path, tmp_path: Path, damage: str) -> None:
    entries = torch.load(teacher, weights_only=True)
    if damage == "weights":
        entries["state_dict"].pop("head.bias")
    else:
        entries.pop(damage)
    torch.save(entries, tmp_path / "bad.pth")
    arguments = ("--data", data, "-o", tmp_path / "x.safetensors", "--teacher", tmp_path / "bad.pth", *SMALL)
    assert "bad.pth is damaged: write it anew" in sentence("train", *arguments)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command, name in (("train", "x.safetensors"), ("train-teacher", "x.pth")):
        result = call(command, "--data", data, "-o", tmp_path / "file" / name, "--threads", 1)
        assert result.exit_code == 1 and "cannot be made (" in result.stderr and "Reading" not in result.stderr
