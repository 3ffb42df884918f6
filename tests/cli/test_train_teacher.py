"""`hydrart train-teacher`: what it prints, and what it says of wrong options. tests/train/ has the training."""

from pathlib import Path

import pytest

from tests.support.commands import call, good, json_lines, sentence

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SHORT = ("--epochs", 1, "--image-size", 16, "--batch", 8, "--threads", 1)


def test_the_report(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.pth"
    done = good("train-teacher", "--data", data, "-o", output, *SHORT, "--json")
    (line,) = json_lines(done.stdout)
    assert line == {"output": str(output), "top1": torch.load(output, weights_only=True)["top1"]}
    assert "Reading" in done.stderr and "Training" in done.stderr
    shown = good("train-teacher", "--data", data, "-o", output, *SHORT, "--resume").stdout
    assert shown == f"{line['top1']:.2%}\n", "the checkpoint beside it is finished"


@pytest.mark.parametrize(
    "options",
    [
        ("--epochs", 0),
        ("--image-size", 7),
        ("--batch", 1),
        ("--lr", 0),
        ("--lr", 1.5),
        ("--heads", "3"),
    ],
)
def test_wrong_usage(data: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    assert call("train-teacher", "--data", data, "-o", tmp_path / "x.pth", *options).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in sentence("train-teacher", "--data", tmp_path / "none", "-o", tmp_path / "x.pth")
