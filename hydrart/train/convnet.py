"""A small residual convolutional network. It teaches a Vision Transformer better than another ViT does.

Convolutions have the locality of pictures built in. A ViT has to learn it from many pictures, or from a teacher.
Sources: H. Touvron et al., "Training data-efficient image transformers & distillation through attention", 2021; the
widths follow K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hydrart.convert.network import Network
from hydrart.format.preprocessing import Preprocessing
from hydrart.train.recipe import TrainError

ARCH = "convnet"
WIDTHS = (64, 192, 192)  # channels of the three stages; each stage halves the resolution


class _Conv(nn.Module):
    """3x3 convolution, batch normalisation, GELU."""

    def __init__(self, inputs: int, outputs: int, tracked: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, momentum=None, track_running_stats=tracked)

    def forward(self, x: Tensor, pool: bool = False) -> Tensor:
        x = self.conv(x)
        x = self.norm(F.max_pool2d(x, 2) if pool else x)
        return F.gelu(x)


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, tracked: bool) -> None:
        super().__init__()
        self.widen = _Conv(inputs, outputs, tracked)
        self.first = _Conv(outputs, outputs, tracked)
        self.second = _Conv(outputs, outputs, tracked)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x, pool=True)
        y: Tensor = self.second(self.first(x))
        return x + y


class ConvNet(Network):
    """The network. forward() takes x [B, 3, S, S], normalised, of the parameters' dtype.

    It returns logits, float32 [B, classes]. tracked: whether batch normalisation has running statistics. Training has
    none, because each shard of a batch has its own statistics and shards run in parallel. `calibrated` adds them at the
    end.
    """

    def __init__(self, classes: int, tracked: bool = False) -> None:
        super().__init__()
        self.stem = _Conv(3, WIDTHS[0] // 2, tracked)
        widths = (WIDTHS[0] // 2, *WIDTHS)
        self.stages = nn.ModuleList(_Stage(a, b, tracked) for a, b in zip(widths, WIDTHS, strict=False))
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x: Tensor, k: int = 1) -> Tensor:
        """Return the logits. k is ignored, because the network is not nested."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
        return F.linear(x.amax((2, 3)).float(), self.head.weight.float(), self.head.bias.float())

    def matrix(self, name: str, weight: Tensor, width: int) -> Tensor | None:
        """The filters of a convolution as [1, outputs, inputs * 9]; None for other tensors (see NestedViT.matrix)."""
        return weight.flatten(1)[None] if weight.ndim == 4 else None


@torch.no_grad()
def calibrated(state: dict[str, Tensor], classes: int, batches: Iterable[Tensor]) -> ConvNet:
    """A network with these weights and with the statistics of normalised training pictures, ready to classify."""
    model = ConvNet(classes, tracked=True)
    model.load_state_dict(state, strict=False)
    model.train()
    for x in batches:
        model(x)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Trained:
    """The content of a file of `hydrart train-teacher`."""

    model: ConvNet
    labels: list[str]
    preprocessing: Preprocessing


def entries_of(trained: Trained) -> dict[str, Any]:
    """The entries of the file, as read() expects them."""
    spec = trained.preprocessing
    entries = {"image_size": spec.size, "mean": spec.mean, "std": spec.std, "labels": trained.labels}
    return {"arch": ARCH, "state_dict": trained.model.state_dict()} | entries


def read(path: Path) -> Trained | None:
    """Read a file of `hydrart train-teacher`; None for a file of another kind. Raises TrainError for a damaged one."""
    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # another reader may know this kind of file
        return None
    if not isinstance(entries, dict) or entries.get("arch") != ARCH:
        return None
    try:
        model = ConvNet(len(entries["labels"]), tracked=True)
        model.load_state_dict(entries["state_dict"])
        spec = Preprocessing(entries["image_size"], 1.0, entries["mean"], entries["std"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainError(f"{path} is damaged: write it anew with hydrart train-teacher") from error
    return Trained(model.eval().requires_grad_(False), entries["labels"], spec)
