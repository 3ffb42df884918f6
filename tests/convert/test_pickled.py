"""convert/pickled.py, through the command: nothing in a pickle is executed."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.convert import pickled
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


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, while making the file
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.zeros(3), 1, 0, torch.qint8)
    assert "qint8" in failure(tmp_path / "a.pth", {"state_dict": {"a": quantised}})


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, while making the file
def test_torchscript_is_refused(tmp_path: Path) -> None:
    program = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(program, str(tmp_path / "a.pth"))
    assert "TorchScript" in failure(tmp_path / "a.pth", None)


def test_a_tensor_with_the_negative_bit_is_read_as_its_numbers(tmp_path: Path) -> None:
    lazy = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert lazy.is_neg()
    torch.save({"a": lazy}, tmp_path / "x.pth")
    np.testing.assert_array_equal(pickled.read(tmp_path / "x.pth", True)["a"], [-2, 4])
