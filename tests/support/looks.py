"""Networks of several looks, with the answers that an independent implementation gives."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.convert.fold import Folded
from hydrart.format.architecture import Architecture, Look

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from tests.support import torch_looks  # noqa: E402


@dataclass(frozen=True)
class Case:
    """A network: its shape, the tensors of its authors' checkpoint, a picture, and the logits of each look."""

    arch: Architecture
    state: dict[str, Any]
    x: NDArray[np.float64]
    logits: tuple[NDArray[np.float64], ...]

    def folded(self) -> dict[str, NDArray[np.float64]]:
        return dict(Folded({name: tensor.double().numpy() for name, tensor in self.state.items()}, self.arch))


CASES = ("thinking", "thinking of three", "thinking, cut", "progressive", "progressive of three", "distilled")


@cache
def case(name: str) -> Case:
    """One of CASES: two or three looks of 1 to 3 heads, 2 blocks, 7 classes."""
    ks = (1, 2, 3) if name.endswith("three") else (1, 2)
    thinking = name.startswith("thinking")
    sizes = (32,) * 3 if thinking else (64, 80) if len(ks) == 2 else (48, 64, 80)
    if thinking:
        state = torch_looks.random_thinking(1, ks, name.endswith("cut"), width=192 if name.endswith("cut") else 0)
    else:
        state = torch_looks.random_progressive(2, ks, sizes[-1], name == "distilled")
    side = 96 if name == "distilled" else sizes[-1]
    arch = Architecture(
        image_size=side,
        patch=16,
        depth=2,
        head_dim=64,
        heads=ks,
        classes=7,
        looks=tuple(map(Look, ks, sizes)),
        fusion="tokens" if thinking else "grid",
    )
    x = np.random.default_rng(0).standard_normal((3, 3, side, side))
    doubled = {name: tensor.double() for name, tensor in state.items()}
    with torch.no_grad():
        if thinking:
            logits = torch_looks.thinking(doubled, torch.from_numpy(x), ks)
        else:
            logits = torch_looks.progressive(doubled, torch.from_numpy(x), ks, sizes[: len(ks)])
    return Case(arch, state, x, tuple(values.numpy() for values in logits))
