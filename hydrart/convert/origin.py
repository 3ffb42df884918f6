"""The source of a conversion: a checkpoint, or a weight file that is to be written differently."""

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hydrart.convert.checkpoint import Checkpoint, read
from hydrart.convert.fold import Folded
from hydrart.convert.identify import Identified, identify
from hydrart.convert.stored import CheckpointError, Stored, as_float32
from hydrart.format.architecture import Architecture, listing
from hydrart.format.metadata import Accuracy, Metadata
from hydrart.format.precision import FP32, PRECISIONS, FloatArray
from hydrart.format.preprocessing import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.roles import parameters_of
from hydrart.format.writer import copy_prefix, sha256, write

Three = tuple[float, float, float]

HALF = (0.5, 0.5, 0.5)  # mean and std of timm's plain ViTs


@dataclass(frozen=True)
class Wishes:
    """The options of the user. None leaves the choice to the checkpoint or weight file."""

    ema: bool = True
    precision: str | None = None
    heads: tuple[int, ...] | None = None
    head_dim: int | None = None
    family: str | None = None
    licence: str | None = None
    sizes: tuple[int, ...] | None = None
    crop: float | None = None


class Origin(Protocol):
    """The source of a conversion.

    - path: of the file that is read.
    - meta: the metadata of the file to write.
    - entry: the entry of the source that held the weights.
    - heads: the number of heads in `tensors`.
    - notes: the assumptions that were made.
    """

    path: Path
    meta: Metadata
    entry: str
    heads: int
    notes: tuple[str, ...]

    def tensors(self) -> dict[str, FloatArray]:
        """Every tensor as float32, in timm's names."""

    def write(self, path: Path, meta: Metadata) -> None:
        """Write the weight file."""


def open_origin(path: Path, wishes: Wishes) -> Origin:
    """Open the source of a conversion. Raises CheckpointError or WeightFileError."""
    if path.suffix == ".safetensors" and _is_weight_file(path):
        return FromWeightFile(path, wishes)
    return FromCheckpoint(path, wishes)


class FromCheckpoint:
    """A checkpoint in timm's names. Its weights stay mapped, and one tensor at a time is copied."""

    def __init__(self, path: Path, wishes: Wishes) -> None:
        checkpoint = read(path, wishes.ema)
        network = identify(checkpoint, wishes.heads, wishes.head_dim, wishes.sizes)
        preprocessing, notes = _preprocessing(checkpoint, network, wishes.family)
        preprocessing = replace(preprocessing, crop=wishes.crop or preprocessing.crop)
        arch = network.architecture
        self.meta = Metadata(
            architecture=arch,
            precision=wishes.precision or FP32.name,
            preprocessing=preprocessing,
            labels=checkpoint.labels if len(checkpoint.labels) == arch.classes else (),
            licence=wishes.licence or checkpoint.licence or "unknown",
            source=checkpoint.title,
            source_sha256=sha256(checkpoint.path),
        )
        self.path = checkpoint.path
        self.entry = checkpoint.entry
        self.heads = network.width // arch.head_dim
        self.notes = network.notes + notes
        self._weights = checkpoint.weights

    def tensors(self) -> dict[str, FloatArray]:
        """Every tensor as float32; of a network of several looks, as its authors store them.

        A tensor that already is float32 is not copied.
        """
        if self.meta.architecture.looks:
            return {name: as_float32(tensor) for name, tensor in self._weights.items()}
        known = parameters_of(self.meta.architecture)
        return {name: as_float32(parameter.cut(self._weights[name], self.heads)) for name, parameter in known.items()}

    def write(self, path: Path, meta: Metadata) -> None:
        """Write the weight file with the heads of `meta`."""
        arch = meta.architecture
        write(path, meta, Folded(self._weights, arch) if arch.looks else _Cut(self._weights, arch))


class FromWeightFile:
    """A hydrart weight file, to be written with fewer heads, other labels or a lower precision."""

    def __init__(self, path: Path, wishes: Wishes) -> None:
        file = WeightFile(path)
        file.verify()
        meta = file.meta
        precision, heads = wishes.precision or meta.precision, wishes.heads or file.heads
        same = precision == meta.precision
        if wishes.head_dim or wishes.family:
            raise CheckpointError(f"{path} is a weight file: --head-dim and --family are for checkpoints")
        if wishes.sizes or wishes.crop:
            raise CheckpointError(f"{path} is a weight file: --sizes and --crop are for checkpoints")
        if lacking := [k for k in heads if k not in file.heads]:
            raise CheckpointError(f"{path} has no network of {lacking[0]} heads, only {listing(file.heads)}")
        wanted, stored = PRECISIONS[precision], PRECISIONS[meta.precision]
        if not same and wanted.bytes >= stored.bytes:
            raise CheckpointError(
                f"{path} holds {meta.precision} weights, from which {precision} cannot be won back: "
                "convert the checkpoint itself"
            )
        self._copied = same and heads == file.heads[: len(heads)]
        if meta.architecture.looks and heads != file.heads[: len(heads)]:
            raise CheckpointError(f"{path} looks several times: only the last looks can be left out, change --heads")
        if same and stored.scaled and not self._copied:
            raise CheckpointError(
                f"{path} holds {stored.name} weights, and only the last heads can be left out: "
                "change --heads, or convert the checkpoint itself"
            )
        self.meta = replace(
            meta.cut(heads[-1]),
            architecture=meta.architecture.cut(heads),
            precision=precision,
            accuracy=_of(meta.accuracy, heads) if same else None,
            licence=wishes.licence or meta.licence,
        )
        self.path = path
        self.entry = "the weight file"
        self.heads = heads[-1]
        self.notes: tuple[str, ...] = ()

    def tensors(self) -> dict[str, FloatArray]:
        """Every tensor as float32, decoded."""
        return dict(self._state())

    def write(self, path: Path, meta: Metadata) -> None:
        """Write the weight file. Where only its end changes, bytes are copied."""
        if self._copied:
            copy_prefix(WeightFile(self.path), path, meta)
        else:
            write(path, meta, self._state())

    def _state(self) -> "Decoded":
        return Decoded(self.path, self.meta.architecture.heads)


class _Cut(Mapping[str, FloatArray]):
    """A checkpoint's tensors as float32, cut to the largest k of `arch`. Each is made on access."""

    def __init__(self, weights: Mapping[str, Stored], arch: Architecture) -> None:
        self._weights = weights
        self._arch = arch

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __getitem__(self, name: str) -> FloatArray:
        return as_float32(parameters_of(self._arch)[name].cut(self._weights[name], self._arch.heads[-1]))


class Decoded(Mapping[str, FloatArray]):
    """The dense tensors of a weight file for some ks, float32. Each is made on access.

    Each access maps the file anew, so that the bytes it reads do not stay in memory.
    """

    def __init__(self, path: Path, heads: tuple[int, ...]) -> None:
        self._file = WeightFile(path)
        self._k = heads[-1]
        self._parameters = parameters_of(self._file.meta.architecture.cut(heads))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __getitem__(self, name: str) -> FloatArray:
        with open(self._file.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.data = np.frombuffer(mapped, np.uint8, offset=self._file.start)
        return np.array(self._file.state(self._parameters[name].only or self._k)[name])


def _preprocessing(
    checkpoint: Checkpoint, network: Identified, family: str | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    """timm's preprocessing of the network's family with the changes of its training, and the assumptions made."""
    size = network.architecture.image_size
    if checkpoint.recipe and not family:
        return _overridden(Preprocessing(size), checkpoint.settings), ()
    chosen = family or network.family
    notes = []
    if not chosen and len(network.architecture.heads) == 1:
        notes.append("pictures are normalised as for DeiT (for other plain ViTs give --family vit)")
    mean, std = (HALF, HALF) if chosen == "vit" else (IMAGENET_MEAN, IMAGENET_STD)
    crop = 1.0 if size == 384 and not network.architecture.looks else 0.9
    spec = Preprocessing(size, crop, mean, std)
    return (spec if family else _overridden(spec, checkpoint.settings)), tuple(notes)


def _overridden(spec: Preprocessing, settings: Mapping[str, Any]) -> Preprocessing:
    """Apply timm's training options --mean, --std, --crop-pct and --interpolation where they were given."""
    mean, std = _three(settings.get("mean")), _three(settings.get("std"))
    crop, interpolation = settings.get("crop_pct"), settings.get("interpolation")
    return replace(
        spec,
        mean=mean or spec.mean,
        std=std if std and min(std) > 0 else spec.std,
        crop=float(crop) if isinstance(crop, int | float) and 0.01 <= crop <= 1 else spec.crop,
        interpolation=interpolation if interpolation in list(INTERPOLATIONS) else spec.interpolation,
    )


def _three(values: Any) -> Three | None:
    match values:
        case [int() | float() as r, int() | float() as g, int() | float() as b]:
            return (float(r), float(g), float(b)) if math.isfinite(r + g + b) else None
    return None


def _of(accuracy: Accuracy | None, heads: tuple[int, ...]) -> Accuracy | None:
    """The measured accuracy of these heads; None where there is none."""
    if accuracy is None:
        return None
    top1, top5 = ({k: share for k, share in t.items() if k in heads} for t in (accuracy.top1, accuracy.top5))
    return replace(accuracy, top1=top1, top5=top5)


def _is_weight_file(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b'"hydrart"' in file.read(4096)
    except OSError:
        return False
