"""convert/checkpoint.py, through the command: every bad file is one sentence; what a folder says beside its weights."""

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from hydrart.format.writer import sha256
from tests.support.converting import CLASSES, PATCH, SIZE, assert_same, converted, failure, nested, torch
from tests.support.torch_vit import random_state


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    assert "does not exist" in failure(path, None)
    path.write_bytes(b"")
    assert "empty" in failure(path, None)
    path.write_text("epoch,loss\n1,2.3\n")
    assert "PyTorch checkpoint" in failure(path, None)
    assert "folder" in failure(tmp_path, None)
    os.mkfifo(tmp_path / "pipe")
    assert "device" in failure(tmp_path / "pipe", None)
    torch.save({"state_dict": nested()}, path)
    whole = path.read_bytes()
    for length in (5, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        assert "cut short" in failure(path, None)
    path.write_bytes(whole)
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root may read everything
        assert "Permission" in failure(path, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], ["list"]),
        ({}, ["no weights"]),
        ({"epoch": 3, "args": argparse.Namespace()}, ["no weights", "epoch"]),
        ({"state_dict": [1]}, ["state_dict", "list"]),
        ({"state_dict_ema": {"a": torch.zeros(1)}}, ["--no-ema"]),
        ({"state_dict": {}}, ["no Vision Transformer"]),
        ({"state_dict": {"a": 3}}, ["int", "'a'"]),
        ({"state_dict": {"a": np.zeros(3)}}, ["'a'"]),
        ({"state_dict": {3: torch.zeros(1)}}, ["'3'"]),
        ({"state_dict": {"a\n\x1b[31mb": torch.zeros(1)}}, ["name"]),
        ({"state_dict": {"a": torch.zeros(1), "module.a": torch.zeros(1)}}, ["twice"]),
        ({"state_dict": {"a": torch.zeros(3, dtype=torch.int8)}}, ["int8"]),
        ({"state_dict": {"a": torch.zeros(3, dtype=torch.complex64)}}, ["complex64"]),
        ({"state_dict": {"a": torch.eye(3).to_sparse()}}, ["sparse"]),
        ({"state_dict": {"a": torch.zeros(3, device="meta")}}, ["empty"]),
        ({"state_dict": {"a": torch.zeros(1).expand(10**9)}}, ["fewer numbers"]),
    ],
)
def test_contents_that_are_no_weights(tmp_path: Path, content: Any, words: list[str]) -> None:
    message = failure(tmp_path / "hydra.pth", content, "--no-ema")
    assert all(word in message for word in words), message


def folder(root: Path, state: Any, config: Any) -> Path:
    """A folder as timm saves it for the Hugging Face Hub."""
    root.mkdir()
    save_file(state, root / "model.safetensors")
    (root / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return root


def test_a_folder_tells_of_its_network(tmp_path: Path) -> None:
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.95, "interpolation": "bilinear"}
    labels = [f"class {i}" for i in range(CLASSES)]
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": CLASSES,
        "label_names": labels,
        "pretrained_cfg": own | {"license": "apache-2.0", "input_size": [3, SIZE, SIZE]},
    }
    state = random_state(1, 192, 1, PATCH, SIZE, CLASSES)
    file = converted(folder(tmp_path / "vit", state, config))
    assert_same(file, state, (3,))
    spec = file.meta.preprocessing
    assert {"mean": list(spec.mean), "std": list(spec.std)} == {name: own[name] for name in ("mean", "std")}
    assert (spec.crop, spec.interpolation) == (0.95, "bilinear")
    assert (file.meta.labels, file.meta.licence) == (tuple(labels), "apache-2.0")
    assert file.meta.source == "vit/model.safetensors"
    assert file.meta.source_sha256 == sha256(tmp_path / "vit" / "model.safetensors")
    assert converted(tmp_path / "vit", "--licence", "MIT").meta.licence == "MIT"


def test_a_folder_that_says_little(tmp_path: Path) -> None:
    state = nested()
    config = {"architecture": None, "label_names": [1, 2], "pretrained_cfg": [], "model_args": {"num_heads": 12}}
    file = converted(folder(tmp_path / "hydravit-x", state, config))
    assert_same(file, state)
    assert (file.meta.labels, file.meta.licence) == ((), "unknown")


@pytest.mark.parametrize("config", ["", "{", "[1]", "\xff", "[" * 100_000])
def test_a_folder_whose_configuration_is_damaged(tmp_path: Path, config: str) -> None:
    root = folder(tmp_path / "vit", nested(), "")
    (root / "config.json").write_bytes(config.encode("latin-1"))
    assert "config.json is no JSON object" in failure(root, None)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "vit", nested(), {})
    (root / name).unlink()
    assert "without model.safetensors and config.json" in failure(root, None)


@pytest.mark.parametrize(
    "prefix", ["model.", "net.backbone.", "model.module._orig_mod.", "module.model.", "module._orig_mod.model.module."]
)
def test_a_network_within_a_module_is_found(prefix: str, tmp_path: Path) -> None:
    """Lightning's modules hold the network as self.model, or under another name."""
    state = nested()
    content = {"state_dict": {f"{prefix}{name}": tensor for name, tensor in state.items()}, "global_step": 3}
    torch.save(content, tmp_path / "hydra.pth")
    assert_same(converted(tmp_path / "hydra.pth", "--heads", "3-12"), state)


def test_blocks_that_were_wrapped_one_by_one(tmp_path: Path) -> None:
    """FSDP and regional compilation wrap each block, so that their names stand in the middle."""
    state = nested()
    for wrapper in ("_fsdp_wrapped_module._checkpoint_wrapped_module.", "_orig_mod."):
        content = {re.sub(r"(blocks\.\d+\.)", rf"model.\1{wrapper}", name): value for name, value in state.items()}
        content = {name if name.startswith("model.") else f"model.{name}": value for name, value in content.items()}
        torch.save({"state_dict": content}, tmp_path / "hydra.pth")
        assert_same(converted(tmp_path / "hydra.pth", "--heads", "3-12"), state)


def test_averaged_weights_of_swa_are_weights(tmp_path: Path) -> None:
    state = nested()
    content = {"n_averaged": torch.tensor(7)} | {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save(content, tmp_path / "hydra.pth")
    assert_same(converted(tmp_path / "hydra.pth", "--heads", "3-12"), state)


def test_a_network_with_batch_norm_is_no_vision_transformer(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 10))
    said = failure(tmp_path / "resnet.pth", network.state_dict())
    assert "is no Vision Transformer with timm's tensor names: it holds 0.weight" in said
