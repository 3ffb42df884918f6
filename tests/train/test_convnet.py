"""train/convnet.py: the convolutional teacher and its file."""

from pathlib import Path

import pytest

from tests.support.colours import SMALL
from tests.support.commands import sentence

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.train import convnet  # noqa: E402
from hydrart.train.convnet import ConvNet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
