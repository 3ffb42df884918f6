"""train/weight_file.py, through the command: what the file of a finished training says and does."""

from pathlib import Path

import numpy as np
import pytest

import hydrart
from tests.support.commands import good

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.format.reader import WeightFile  # noqa: E402

KS = tuple(range(3, 13))

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_a_run_ends_with_a_weight_file_that_knows_its_accuracy(data: Path, trained: Path) -> None:
    model, meta = hydrart.load(trained), WeightFile(trained).meta
    assert model.heads == KS and model.labels == ("blue", "red")
    assert meta.licence == "MIT" and meta.source == "colours.pth" and len(meta.source_sha256) == 64
    assert meta.accuracy is not None
    assert (meta.accuracy.dataset, meta.accuracy.pictures) == ("colours", 32)
    assert meta.accuracy.top1[12] > 0.9, "red and blue can be told apart"
    for k in (3, 12):
        right = sum(model(path, k).label == path.parent.name for path in (data / "test").glob("*/*.png"))
        assert right / 32 == meta.accuracy.top1[k]


def test_the_file_tells_how_it_was_trained(trained: Path) -> None:
    (run,) = WeightFile(trained).meta.history
    assert run["pictures"] == 32 and run["epochs"] == 12 and run["seed"] == 0 and run["optimizer"] == "muon"


def test_the_checkpoint_converts_to_the_same_network(data: Path, trained: Path, tmp_path: Path) -> None:
    good("convert", trained.with_suffix(".pth"), "-o", tmp_path / "again.safetensors")
    a, b = WeightFile(trained), WeightFile(tmp_path / "again.safetensors")
    assert (a.meta.architecture, a.meta.preprocessing, a.meta.labels) == (
        b.meta.architecture,
        b.meta.preprocessing,
        b.meta.labels,
    )
    assert np.array_equal(a.data, b.data)
