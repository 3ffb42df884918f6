"""`hydrart train`: its options, and what it says of wrong ones."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support import commands
from tests.support.colours import SMALL
from tests.support.commands import call, good, sentence
from tests.support.training import meta_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")


KS = tuple(range(3, 13))

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--heads", "3,6,12", "--weights", "1,1,2"), {"heads": (3, 6, 12)}),
        (("--heads", "2-4"), {"heads": (2, 3, 4)}),
        (("--networks", "3"), {}),
        (("--separate-classifiers", "--heads", "3,4"), {"heads": (3, 4), "separate_classifiers": True}),
        (("--baseline", "4"), {"heads": (4,)}),
        (("--head-dim", "32", "--heads", "3,4"), {"heads": (3, 4), "head_dim": 32}),
        (("--depth", "2"), {"depth": 2}),
        (("--patch", "4"), {"patch": 4}),
        (("--image-size", "24"), {"image_size": 24}),
        (("--optimizer", "adamw"), {}),
        (("--augment", "strong"), {}),
        (("--mixup", "0.4"), {}),
        (("--ema", "0"), {}),
        (("--precision", "bf16"), {}),
        (("--threads", "2"), {}),
        (("--device", "cpu", "--label-smoothing", "0"), {}),
        (("--epochs", "1", "--warmup", "0"), {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_every_option(data: Path, tmp_path: Path, options: tuple[str, ...], expected: dict[str, Any]) -> None:
    meta = meta_of("--data", data, "-o", tmp_path / "x.safetensors", "--epochs", 2, *SMALL, *options)
    usual = {"heads": KS, "head_dim": 16, "depth": 1, "patch": 8, "image_size": 16, "separate_classifiers": False}
    assert {name: getattr(meta.architecture, name) for name in usual} == usual | expected
    assert meta.accuracy is not None and tuple(meta.accuracy.top1) == meta.architecture.heads


def test_a_run_may_be_given_hours(data: Path, tmp_path: Path) -> None:
    meta = meta_of("--data", data, "-o", tmp_path / "x.safetensors", "--hours", 1 / 3600, *SMALL)
    assert int(meta.history[0]["steps"]) >= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image-size", "20"), "no multiple of patch"),
        (("--heads", "3,6", "--weights", "1,2,3"), "--weights names 3 numbers for 2 ks"),
        (("--networks", "11"), "--networks 11 is more than a step can train"),
        (("--networks", "2", "--baseline", "6"), "--networks 2 is more than a step can train"),
        (("--networks", "4", "--heads", "3-6", "--weights", "1,1,0,1"), "1 that may be drawn"),
        (("--init", "nothing.pth"), "nothing.pth does not exist"),
        (("--init", "TRAINED", "-o", "TRAINED"), "is the input itself"),
        (("--teacher", "CHECKPOINT", "-o", "TRAINED"), "is the input itself"),
        (("--teacher", "nothing.pth"), "nothing.pth does not exist"),
        (("--init", "TRAINED", "--depth", "2"), "leave that flag out"),
        (("--init", "TRAINED", "--heads", "3-13"), "change --heads"),
        pytest.param(
            ("--device", "cuda"),
            "finds no CUDA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_wishes_that_cannot_be_granted(
    data: Path, trained: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    names = {"TRAINED": str(trained), "CHECKPOINT": str(trained.with_suffix(".pth"))}
    given = [names.get(option, option) for option in options]
    before = trained.read_bytes(), trained.with_suffix(".pth").read_bytes()
    assert words in sentence("train", "--data", data, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL, *given)
    assert not list(tmp_path.iterdir())
    assert (trained.read_bytes(), trained.with_suffix(".pth").read_bytes()) == before


@pytest.mark.parametrize(
    "options",
    [
        ("--epochs", "1", "--hours", "1"),
        ("--baseline", "3", "--heads", "3-6"),
        ("--weights", "1,-1"),
        ("--weights", "nan"),
        ("--weights", "0,0"),
        ("--heads", "9-3"),
        ("-o", "x.pth"),
    ],
)
def test_wrong_usage(data: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert call("train", "--data", data, "-o", tmp_path / "x.safetensors", *options).exit_code == 2


def test_the_report(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.safetensors"
    options = ("--data", data, "-o", output, "--epochs", 1, "--heads", "3,6", *SMALL)
    done = good("train", *options, "--json")
    (report,) = commands.json_lines(done.stdout)
    accuracy = WeightFile(output).meta.accuracy
    assert accuracy is not None
    assert report == {"output": str(output), "top1": {str(k): share for k, share in accuracy.top1.items()}}
    assert "Reading" in done.stderr and "Training" in done.stderr and "Evaluating" in done.stderr
    text = good("train", *options).stdout
    assert text.splitlines() == [f"k={k}: {share:.2%}" for k, share in accuracy.top1.items()]


def test_without_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for command, name in (("train", "x.safetensors"), ("train-teacher", "x.pth")):
        said = sentence(command, "--data", tmp_path, "-o", tmp_path / name)
        assert said == f"hydrart {command} needs PyTorch: install it with: {install_command('train')}"


def test_a_script_of_the_checkout_calls_the_command() -> None:
    script = Path(__file__).parents[2] / "tools" / "train.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Usage: hydrart train ")
