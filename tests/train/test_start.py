"""train/start.py, through the command: trainings that start from a network."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import call, good
from tests.support.training import meta_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from safetensors.torch import save_file  # noqa: E402

from hydrart.format.reader import WeightFile  # noqa: E402
from hydrart.format.writer import sha256  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_training_goes_on_from_a_weight_file(data: Path, trained: Path, tmp_path: Path) -> None:
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--init", trained, "--epochs", 1, "--lr", 1e-6,
        "--batch", 8, "--threads", 1,
    )  # fmt: skip
    old, new = WeightFile(trained), WeightFile(tmp_path / "x.safetensors")
    assert meta.preprocessing == old.meta.preprocessing and meta.architecture == old.meta.architecture
    for name, value in old.state(12).items():
        np.testing.assert_allclose(new.state(12)[name], value, atol=1e-4, err_msg=name)
    first, second = meta.history
    assert first == old.meta.history[0]
    assert second["init"] == trained.name and len(str(second["init_sha256"])) == 64


def test_a_checkpoint_is_fine_tuned_on_other_classes_and_sizes(trained: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in "abc":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (30, 20), (40 * i, 9, ord(name))).save(tmp_path / part / name / f"{i}.png")
    result = good(
        "train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--init", trained.with_suffix(".pth"),
        "--epochs", 2, "--batch", 4, "--heads", "3,6", "--image-size", 24, "--separate-classifiers", "--threads", 1,
    )  # fmt: skip
    assert "classifier starts anew" in result.stderr and "interpolated" in result.stderr
    arch = WeightFile(tmp_path / "x.safetensors").meta.architecture
    assert (arch.heads, arch.classes, arch.image_size, arch.separate_classifiers) == ((3, 6), 3, 24, True)


def test_a_folder_with_a_configuration_is_a_start_and_a_teacher(data: Path, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hydravit"
    folder.mkdir()
    save_file(
        torch.load(trained.with_suffix(".pth"), weights_only=True)["state_dict_ema"], folder / "model.safetensors"
    )
    spec = WeightFile(trained).meta.preprocessing
    own = {"mean": spec.mean, "std": spec.std, "crop_pct": 1.0}
    config = {"architecture": "hydravit", "label_names": ["blue", "red"], "pretrained_cfg": own}
    (folder / "config.json").write_text(json.dumps(config | {"model_args": {"head_dim": 16}}))
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--init", folder, "--teacher", folder, "--epochs", 1,
        "--lr", 1e-6, "--batch", 8, "--threads", 1,
    )  # fmt: skip
    assert meta.architecture == WeightFile(trained).meta.architecture
    assert meta.accuracy is not None and meta.accuracy.top1[12] > 0.9
    digest = sha256(folder / "model.safetensors")
    assert meta.history[0]["init_sha256"] == meta.history[0]["teacher_sha256"] == digest


def test_training_starts_from_a_network_that_ships(data: Path, tmp_path: Path) -> None:
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--init", "hydravit-cifar10", "--epochs", 1, "--batch", 8,
        "--threads", 1,
    )  # fmt: skip
    assert meta.history[-1]["init"] == "hydravit-cifar10.safetensors" and len(meta.history) > 1
    said = call("train", "--data", data, "-o", tmp_path / "y.safetensors", "--init", "hydravit-cifar")
    assert said.exit_code == 2 and "did you mean hydravit-cifar10?" in said.stderr
