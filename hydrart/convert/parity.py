"""Does the written file answer as PyTorch does? Both networks look at one picture, with every k."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from hydrart.convert.nested_vit import NestedViT
from hydrart.convert.origin import Decoded
from hydrart.engine import reference
from hydrart.format.architecture import Architecture
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.picture.preprocess import preprocess, read_picture
from hydrart.resources import DEMO

FloatArray = NDArray[np.float32]
Logits = dict[int, FloatArray]

LIMIT = 1e-3  # for fp32, of the largest logit or of 1; correct conversions stay below a hundredth of it


@dataclass(frozen=True)
class Row:
    """One k: its size, the largest difference between two logits, and whether both name the same class."""

    k: int
    parameters: int
    gmacs: float
    difference: float
    same_top1: bool
    within: bool


def picture(spec: Preprocessing) -> FloatArray:
    """The bundled picture as input, float32 [1, 3, size, size]."""
    return preprocess(read_picture(DEMO), spec)


def pytorch_logits(tensors: Mapping[str, Tensor], arch: Architecture, heads: int, x: FloatArray) -> Logits:
    """float32 [classes] for each k of `arch`; `tensors` are of `heads` heads and are used where they lie."""
    separate = {int(name.split(".")[1]) for name in tensors if name.startswith("heads.")}
    with torch.device("meta"):
        model = NestedViT(
            image_size=arch.image_size,
            patch=arch.patch,
            depth=arch.depth,
            heads=heads,
            head_dim=arch.head_dim,
            classes=arch.classes,
            layer_scale=arch.layer_scale,
            separate=tuple(sorted(separate)),
        )
    model.load_state_dict(tensors, assign=True)
    with torch.no_grad(), one_thread():
        return {k: model(torch.from_numpy(x), k)[0].numpy() for k in arch.heads}


def reference_logits(path: Path, x: FloatArray) -> Logits:
    """float32 [classes] for each k of a weight file, by hydrart's plain NumPy network."""
    arch = WeightFile(path).meta.architecture
    logits = {}
    with one_thread(), np.errstate(all="ignore"):  # weights that overflow show as a difference, not as warnings
        for k in arch.heads:
            state = Decoded(path, (k,))
            logits[k] = reference.classify(state, arch, reference.features(state, arch, x, k), k)[0]
    return logits


def compare(expected: Logits, found: Logits, arch: Architecture) -> list[Row]:
    """The table, by k."""
    rows = []
    for k, wanted in expected.items():
        difference = float(np.abs(wanted - found[k]).max())
        limit = LIMIT * max(1.0, float(np.abs(wanted).max()))
        rows.append(
            Row(
                k=k,
                parameters=arch.parameters(k),
                gmacs=arch.macs(k) / 1e9,
                difference=difference,
                same_top1=bool(wanted.argmax() == found[k].argmax()),
                within=difference <= limit,
            )
        )
    return rows


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Where other programs are busy, several threads wait for each other twenty times as long as they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
