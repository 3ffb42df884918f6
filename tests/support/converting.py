"""Helpers of the converter's tests: small networks, the command, comparisons with torch_vit.py."""

import argparse
import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hydrart.engine import reference
from hydrart.format.reader import WeightFile

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.cli.main import main  # noqa: E402
from hydrart.convert.parity import one_thread  # noqa: E402
from tests.support.torch_vit import logits, random_state  # noqa: E402

torch.set_num_threads(1)  # the networks are too small for several threads

KS = tuple(range(3, 13))
HEAD_DIM = 16
SIZE, PATCH, CLASSES = 16, 8, 7
NAME = "hydravit_dyn_patch16_224"
X = torch.randn((1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(5))

State = dict[str, Any]


def nested(seed: int = 1, **options: Any) -> State:
    """A small HydraViT: 12 heads of 16 channels, 2 blocks."""
    return random_state(seed, 192, 2, PATCH, SIZE, CLASSES, **options)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def converted(checkpoint: Path, *options: object) -> WeightFile:
    """Convert beside the checkpoint, verify the file's checksums, and return the file."""
    out = checkpoint.parent / "converted.safetensors"
    result = run(checkpoint, "-o", out, *options)
    assert result.exit_code == 0, result.output
    file = WeightFile(out)
    file.verify()
    return file


def answers(file: WeightFile, k: int) -> Any:
    """Return the logits of the weight file, in float64."""
    arch, state = file.meta.architecture, file.state(k)
    with one_thread():
        return reference.classify(state, arch, reference.features(state, arch, X.double().numpy(), k), k)


def assert_same(file: WeightFile, state: State, ks: tuple[int, ...] = KS, within: float = 1e-4) -> None:
    assert file.heads == ks
    for k in ks:
        with one_thread():
            expected = logits(state, X, k, file.meta.architecture.head_dim).numpy()
        assert np.abs(expected).max() > 0.1
        assert np.abs(answers(file, k) - expected).max() < within, f"k={k}"


def sentence(result: Result) -> str:
    """Return the single sentence of a failure."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("hydrart: ")
    assert result.stderr.count("\n") == 1
    assert "weights_only" not in result.stderr
    return result.stderr


def failure(path: Path, content: Any, *options: object) -> str:
    """Return the message about a checkpoint that cannot be converted. No file may remain."""
    if content is not None:
        torch.save(content, path)
    out = path.parent / "out.safetensors"
    before = set(path.parent.iterdir())
    message = sentence(run(path, "-o", out, *options))
    assert set(path.parent.iterdir()) == before
    return message


def timm_checkpoint(raw: State, ema: State) -> dict[str, Any]:
    """A checkpoint in the form of timm's saver, with the extra entries of a real training run."""
    arguments = argparse.Namespace(model=NAME, heads=list(KS), mean=None, crop_pct=None, interpolation="", drop=0.1)
    arguments.output = Path("/runs/1")
    parameters = [torch.nn.Parameter(tensor) for tensor in raw.values()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "epoch": 299,
        "arch": NAME,
        "state_dict": collections.OrderedDict((f"module.{name}", tensor) for name, tensor in raw.items()),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": arguments,
        "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": {f"module._orig_mod.module.{name}": tensor for name, tensor in ema.items()},
        "metric": np.float64(80.63),
        "history": np.arange(3.0),
    }
