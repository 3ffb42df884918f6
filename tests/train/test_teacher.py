"""train/teacher.py, through the command: what a student learns from another network."""

from pathlib import Path

import pytest

from tests.support.colours import SMALL
from tests.support.commands import good, sentence
from tests.support.training import meta_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.format.reader import WeightFile  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_a_student_learns_from_a_nested_network(data: Path, trained: Path, tmp_path: Path) -> None:
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--teacher", trained, "--distill", 1, "--epochs", 12,
        "--heads", "3,4", *SMALL, "--image-size", 32,
    )  # fmt: skip
    assert meta.accuracy is not None and meta.accuracy.top1[4] > 0.9, "it learns from its teacher alone"
    assert meta.history[0]["teacher"] == trained.name


def test_a_teacher_of_other_classes_is_refused(data: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "weights" / "hydravit-cifar10.safetensors"
    arguments = ("--data", data, "-o", tmp_path / "x.safetensors", "--teacher", shipped, *SMALL)
    said = sentence("train", *arguments)
    assert "other classes than the pictures, it does not know blue, red: a teacher must know the same" in said


def test_a_student_learns_from_a_convolutional_network(data: Path, teacher: Path, tmp_path: Path) -> None:
    good(
        "train", "--data", data, "-o", tmp_path / "x.safetensors", "--teacher", teacher, "--distill", 1,
        "--epochs", 12, "--heads", "3,4", *SMALL, "--image-size", 24,
    )  # fmt: skip
    meta = WeightFile(tmp_path / "x.safetensors").meta
    assert meta.accuracy is not None and meta.accuracy.top1[4] > 0.9
    assert meta.history[0]["teacher"] == "teacher.pth"
