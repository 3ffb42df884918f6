"""Networks of any shape with random weights, to measure the speed of a network before anybody trains it."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.layout import Layout
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FP32
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.roles import NORM, parameters_of
from hydrart.format.writer import write
from hydrart.resources import suggestion

HYDRAVIT_B = Architecture(
    image_size=224, patch=16, depth=12, head_dim=64, heads=(3, 4, 5, 6, 7, 8, 9, 10, 11, 12), classes=1000
)
MAX_HEADS = 64
PRESETS = {
    "hydravit-b": HYDRAVIT_B,
    "deit-tiny": replace(HYDRAVIT_B, heads=(3,)),
    "deit-small": replace(HYDRAVIT_B, heads=(6,)),
    "deit-base": replace(HYDRAVIT_B, heads=(12,)),
}
_KEYS = {
    "heads": "heads",
    "head_dim": "head_dim",
    "depth": "depth",
    "image": "image_size",
    "patch": "patch",
    "classes": "classes",
}


def parse_shape(text: str) -> Architecture:
    """Read a shape: 'hydravit-b', 'heads=3-12,head_dim=64,depth=12,image=224,patch=16,classes=1000', or both.

    Entries change the preset; without one they change hydravit-b. Heads are a number, a range, or several joined by
    '+'. Raises SettingError.
    """
    first, *rest = text.split(",")
    if "=" in first:
        arch, rest = HYDRAVIT_B, [first, *rest]
    elif first in PRESETS:
        arch = PRESETS[first]
    else:
        raise SettingError(f"the shape {first!r:.60} is unknown: {suggestion(first, PRESETS)}, or heads=6,depth=8")
    changes: dict[str, int | tuple[int, ...]] = {}
    for part in rest:
        key, _, value = part.partition("=")
        if key not in _KEYS:
            raise SettingError(f"the shape has an unknown entry {key!r:.60}: {suggestion(key, _KEYS)}")
        if key == "heads":
            changes["heads"] = tuple(sorted({k for a, b in parse_ranges(value, "+") for k in range(a, b + 1)}))
        else:
            changes[_KEYS[key]] = _number(key, value)
    try:
        return replace(arch, **changes)  # type: ignore[arg-type] # heads alone are several numbers
    except ValueError as error:
        raise SettingError(f"the shape {text!r:.120} is impossible: {error}") from None


def parse_ranges(text: str, separator: str) -> list[tuple[int, int]]:
    """Read numbers and ranges of heads, '3' or '3-12', with a separator between them, as pairs. Raises SettingError."""
    ranges = []
    for part in text.split(separator):
        low, dash, high = part.partition("-")
        begin = _number("heads", low)
        end = _number("heads", high) if dash else begin
        if not 1 <= begin <= end <= MAX_HEADS:
            raise SettingError(f"{part!r:.40} is no range of heads: write one such as 3-12")
        ranges.append((begin, end))
    return ranges


def choose_heads(ranges: Iterable[tuple[int, int]], arch: Architecture) -> tuple[int, ...]:
    """The trained ks in these ranges; a single number must be one of them. Raises HeadsError."""
    ks: set[int] = set()
    for begin, end in ranges:
        inside = [k for k in arch.heads if begin <= k <= end]
        ks.update(inside or [arch.check_k(begin)])
    return tuple(sorted(ks))


@contextmanager
def random_weights(arch: Architecture, precision: str = FP32.name) -> Iterator[Path]:
    """A weight file of this shape, which is deleted at the end.

    Raises SettingError where there is no room for it, WeightFileError where it cannot be written.
    """
    meta = Metadata(arch, precision, Preprocessing(arch.image_size), source="random numbers")
    with TemporaryDirectory(prefix="hydrart-") as folder:
        needed, free = max(Layout(arch, precision).ends.values()), shutil.disk_usage(folder).free
        if needed > free:
            raise SettingError(
                f"the weights of this shape take {needed / 1e9:,.1f} GB, and {Path(folder).parent} has "
                f"{free / 1e9:,.1f} GB of room: choose a smaller shape, or set TMPDIR to a larger disk"
            )
        path = Path(folder) / "random.safetensors"
        write(path, meta, _RandomState(arch))
        yield path


class _RandomState(Mapping[str, NDArray[np.float32]]):
    """Random dense tensors of the largest network, made on access. Their scale keeps the size of the activations."""

    def __init__(self, arch: Architecture) -> None:
        self._parameters = parameters_of(arch)
        self._k = arch.heads[-1]
        self._rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        parameter = self._parameters[name]
        shape = parameter.shape(self._k)
        values = self._rng.standard_normal(shape, np.float32)
        values *= np.float32(prod(shape[1:]) ** -0.5 if parameter.part.is_matrix else 0.2)
        if parameter.part is NORM[0]:
            values += np.float32(1)
        return values


def _number(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"{key} is {text!r:.40}: write a whole number") from None
