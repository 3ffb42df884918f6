"""Small random nested networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture, Look
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FP32
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.roles import (
    CLASSIFIER,
    CLASSIFIERS,
    GAIN,
    LOOK_POSITIONS,
    NORM,
    POSITIONS,
    SCALE,
    Each,
    Parameter,
    parameters_of,
)
from hydrart.format.writer import write

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SMALL = Architecture(image_size=32, patch=8, depth=2, head_dim=16, heads=tuple(range(3, 13)), classes=10)

TOKEN_LOOKS = replace(
    SMALL, heads=(3, 6, 12), looks=tuple(Look(k, 32) for k in (3, 6, 12)), fusion="tokens"
)  # as ThinkingViT
GRID_LOOKS = replace(
    SMALL, image_size=40, heads=(3, 6), looks=(Look(3, 24), Look(6, 32)), fusion="grid"
)  # as ProgResViT, with an input that is larger than both

State = dict[str, NDArray[np.float32]]


def random_state(arch: Architecture, seed: int = 0) -> State:
    """Return dense random weights of the largest network, in timm's names and shapes."""
    rng = np.random.default_rng(seed)
    state: State = {}
    # The tests' bounds depend on this order of the random numbers.
    for parameter in sorted(parameters_of(arch).values(), key=_drawn):
        shape, part = parameter.shape(arch.heads[-1]), parameter.part
        fan_in = np.prod(shape[1:]) if len(shape) > 1 and parameter.role not in (POSITIONS, LOOK_POSITIONS) else 25
        values = rng.standard_normal(shape) / np.sqrt(fan_in)
        if part in (*NORM, *GAIN):
            values = values * 0.5 + part.start
        state[parameter.name] = values.astype(np.float32)
    return state


def _drawn(parameter: Parameter) -> tuple[bool, int, bool]:
    """Return the sort key of drawing: tensors outside the blocks, each block with its layer scale last, classifiers."""
    block = parameter.index if isinstance(parameter.index, int) and parameter.role.each is Each.BLOCK else None
    return parameter.role in (CLASSIFIER, CLASSIFIERS), -1 if block is None else block, parameter.part in SCALE


def make_file(path: Path, arch: Architecture = SMALL, precision: str = FP32.name, seed: int = 0) -> Path:
    """Write a random network."""
    labels = CIFAR if arch.classes == len(CIFAR) else ()
    meta = Metadata(arch, precision, Preprocessing(arch.image_size, crop=1.0), labels, licence="none", source="made up")
    write(path, meta, random_state(arch, seed))
    return path
