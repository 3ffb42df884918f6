"""tools/checkpoint.py, through the command: nothing is executed, every bad file is one sentence."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from tests.support.converting import NAME, failure, nested, torch


class Evil:
    """Unpickled by an ordinary loader, it would leave a file."""

    def __init__(self, marker: Path, function: Any = os.system) -> None:
        self.marker, self.function = marker, function

    def __reduce__(self) -> Any:
        return self.function, (
            f"touch {self.marker}" if self.function is os.system else f"open({str(self.marker)!r}, 'w')",
        )


@pytest.mark.parametrize("function", [os.system, eval, exec])
@pytest.mark.parametrize("place", ["weights", "args", "optimizer", "alone"])
@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle_is_refused_and_not_run(tmp_path: Path, function: Any, place: str, zipped: bool) -> None:
    marker = tmp_path / "marker"
    evil = Evil(marker, function)
    content: Any = {"arch": NAME, "state_dict": nested(), "args": argparse.Namespace(model=NAME)}
    if place == "weights":
        content["state_dict"]["head.bias"] = evil
    elif place == "args":
        content["args"].callback = evil
    elif place == "optimizer":
        content["optimizer"] = {"state": [evil]}
    else:
        content = evil
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    message = failure(tmp_path / "a.pth", None)
    assert function.__name__ in message
    assert "nothing in a checkpoint is executed" in message
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_malicious_pickle(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "marker")}, protocol))
    failure(tmp_path / "a.pth", None)
    assert not (tmp_path / "marker").exists()


def test_pickled_module_is_refused(tmp_path: Path) -> None:
    assert "Linear" in failure(tmp_path / "a.pth", {"model": torch.nn.Linear(2, 2)})


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


def test_bad_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "hydra.safetensors"
    save_file(nested(), path)
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:50], b"{" + whole[1:], b"hello, this is text", whole[:9] + b"}" + whole[10:]):
        path.write_bytes(damaged)
        assert "safetensors" in failure(path, None)
    path = tmp_path / "a.pth"
    path.write_bytes(whole[:-4])
    assert "safetensors" in failure(path, None)


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


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, while making the file
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.zeros(3), 1, 0, torch.qint8)
    assert "qint8" in failure(tmp_path / "a.pth", {"state_dict": {"a": quantised}})


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, while making the file
def test_torchscript_is_refused(tmp_path: Path) -> None:
    program = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(program, str(tmp_path / "a.pth"))
    assert "TorchScript" in failure(tmp_path / "a.pth", None)
