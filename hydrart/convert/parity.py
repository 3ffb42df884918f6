"""Compare the answers of a written file with those of its source, to one picture and with every k.

PyTorch computes the source's answers. Where it is not installed, the reference computes them in float64.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from hydrart.convert import unfolded
from hydrart.convert.origin import Decoded
from hydrart.engine import reference
from hydrart.format.architecture import Architecture
from hydrart.format.precision import FloatArray
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.roles import CLASS_TOKEN
from hydrart.picture.preprocess import preprocess, read_picture
from hydrart.resources import DEMO

FLOAT64 = "float64 NumPy"
Logits = dict[int, FloatArray]

# largest fp32 difference, relative to the largest logit or to 1; a correct one is below a hundredth of it
PARITY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """One k: its size, the largest difference between two logits, and whether both networks name the same class."""

    k: int
    parameters: int
    gmacs: float
    difference: float
    same_top1: bool
    within: bool


def picture(spec: Preprocessing) -> FloatArray:
    """The bundled picture as the network's input, float32 [1, 3, size, size]."""
    return preprocess(read_picture(DEMO), spec)


def source_logits(
    tensors: Mapping[str, FloatArray], arch: Architecture, heads: int, x: FloatArray
) -> tuple[Logits, str]:
    """Compute the source's answers. Returns them, and the name of the network that computed them.

    tensors: of `heads` heads, in timm's names. The answers are float32 or float64 [classes] for each k of `arch`.
    """
    if arch.looks:
        written = CLASS_TOKEN.at() in tensors  # as its authors write it; a weight file holds folded tensors
        return (unfolded.logits(tensors, arch, x) if written else _looked(tensors, arch, x, np.float64)), FLOAT64
    if importlib.util.find_spec("torch"):
        return pytorch_logits(tensors, arch, heads, x), "PyTorch"
    return numpy_logits(tensors, arch, x), FLOAT64


def numpy_logits(tensors: Mapping[str, FloatArray], arch: Architecture, x: FloatArray) -> Logits:
    """The reference's logits, float64 [classes] for each k of `arch`."""
    logits = {}
    with one_thread(), np.errstate(all="ignore"):
        for k in arch.heads:
            features = reference.features(tensors, arch, x.astype(np.float64), k)
            logits[k] = reference.classify(tensors, arch, features, k)[0]
    return logits


def pytorch_logits(tensors: Mapping[str, FloatArray], arch: Architecture, heads: int, x: FloatArray) -> Logits:
    """PyTorch's logits, float32 [classes] for each k of `arch`. The tensors are not copied."""
    import torch

    from hydrart.convert.nested_vit import NestedViT

    with torch.device("meta"):
        model = NestedViT(arch, heads)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, assign=True)
    with torch.no_grad(), one_thread():
        return {k: model(torch.from_numpy(x), k)[0].numpy() for k in arch.heads}


def _looked(tensors: Mapping[str, FloatArray], arch: Architecture, x: FloatArray, dtype: type) -> Logits:
    """The reference's logits of each look, one after the other."""
    logits, before = {}, None
    for k in arch.heads:
        before = reference.tokens(tensors, arch, x.astype(dtype), k, before)
        logits[k] = reference.classify(tensors, arch, before[:, 0], k)[0]
    return logits


def reference_logits(path: Path, x: FloatArray) -> Logits:
    """The reference's logits from a weight file, float32 [classes] for each of its ks."""
    arch = WeightFile(path).meta.architecture
    logits = {}
    with one_thread(), np.errstate(all="ignore"):  # an overflow shows as a difference; warnings are not needed
        if arch.looks:
            return _looked(Decoded(path, arch.heads), arch, x, np.float32)
        for k in arch.heads:
            state = Decoded(path, (k,))
            logits[k] = reference.classify(state, arch, reference.features(state, arch, x, k), k)[0]
    return logits


def compare(expected: Logits, found: Logits, arch: Architecture) -> list[Agreement]:
    """Compare logits of the same picture, k by k."""
    rows = []
    for k, wanted in expected.items():
        difference = float(np.abs(wanted - found[k]).max())
        limit = PARITY_TOLERANCE * max(1.0, float(np.abs(wanted).max()))
        rows.append(
            Agreement(
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
    """Compute with one thread. On a busy machine, several threads wait for each other far longer than they compute."""
    torch = sys.modules.get("torch")  # once imported, it has threads of its own
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
