"""cli/training.py: what the two commands that train share."""

import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hydrart.cli import training
from hydrart.errors import MissingExtraError
from hydrart.installation import install_command


def given(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command()
    @training.data_option
    @training.augment_option
    @training.seed_option
    @training.device_option
    @training.training_threads_option
    @training.resume_option
    def command(**options: Any) -> None:
        found.update(options)

    done = CliRunner().invoke(command, list(map(str, arguments)))
    return found if done.exit_code == 0 else {"exit_code": done.exit_code}


def test_defaults() -> None:
    assert given("--data", "a") == {
        "data": Path("a"),
        "augment": "crop",
        "seed": 0,
        "device": "auto",
        "threads": len(os.sched_getaffinity(0)),
        "resume": False,
    }


@pytest.mark.parametrize(
    "options", [("--threads", 0), ("--threads", 257), ("--seed", -1), ("--device", "tpu"), ("--augment", "weak")]
)
def test_wrong_values(options: tuple[object, ...]) -> None:
    assert given("--data", "a", *options) == {"exit_code": 2}
    assert given() == {"exit_code": 2}, "there is no training without pictures"


def test_pytorch_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as error:
        training.need_pytorch("hydrart x")
    assert str(error.value) == f"hydrart x needs PyTorch: install it with: {install_command('train')}"
