"""Turn a checkpoint into a hydrart weight file, and compare the two.

A checkpoint is timm's .pth, .pth.tar or .safetensors file of a HydraViT, a ViT or a DeiT, or a folder with
model.safetensors and config.json. It may also be a hydrart weight file, to be written with fewer heads or in a lower
precision. Nothing in a checkpoint is executed.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydrart.convert import parity
from hydrart.convert.checkpoint import HUB_CONFIG, HUB_WEIGHTS
from hydrart.convert.origin import Wishes, open_origin
from hydrart.convert.output import ConvertError, appearing
from hydrart.convert.parity import Agreement
from hydrart.errors import WeightFileError
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FP32

_LONGEST = 10_000_000  # characters of a file of labels; a device has no end
IMAGENET_LABELS = Path(__file__).with_name("imagenet1k.txt")


@dataclass(frozen=True)
class Report:
    """The written file: its metadata and size, the entry of its weights, assumptions, and the parity table.

    reference: name of the network whose answers the file's answers were compared with.
    """

    output: Path
    meta: Metadata
    size: int
    entry: str
    notes: tuple[str, ...]
    reference: str
    rows: list[Agreement]


def convert(checkpoint: Path, output: Path, wishes: Wishes, labels: Path | None = None) -> Report:
    """Write `output`. It gets its name only after its answers agreed with the checkpoint's.

    Raises HydrartError. An `output` from before then stays as it was.
    """
    read = [checkpoint / HUB_WEIGHTS, checkpoint / HUB_CONFIG, *([labels] if labels else [])]
    with appearing(output, checkpoint, *read) as file:
        part = Path(file.name)
        origin = open_origin(checkpoint, wishes)
        meta, notes = _labelled(origin.meta, labels)
        entry, notes = origin.entry, origin.notes + notes
        try:
            origin.write(part, meta)
        except WeightFileError as error:
            raise ConvertError(f"{checkpoint} cannot be converted: {_renamed(error, part, output)}") from None
        x = parity.picture(meta.preprocessing)
        expected, reference = parity.source_logits(origin.tensors(), meta.architecture, origin.heads, x)
        del origin  # free the checkpoint's memory before the new file is read
        rows = parity.compare(expected, parity.reference_logits(part, x), meta.architecture)
        _check(rows, meta.precision, reference)
        size = part.stat().st_size
    return Report(output, meta, size, entry, notes, reference, rows)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read labels from a UTF-8 file: one per line, or a JSON list of strings. Raises ConvertError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_LONGEST + 1).strip()
    except UnicodeDecodeError:
        raise ConvertError(f"{path} is not UTF-8 text: give one label a line, or a JSON list") from None
    except OSError as error:
        raise ConvertError(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > _LONGEST:
        raise ConvertError(f"{path} has more than {_LONGEST} characters: give one label a line, or a JSON list")
    labels: Any = [line.strip() for line in text.splitlines()]
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except (ValueError, RecursionError):
            raise ConvertError(f"{path} starts like a JSON list, but is none: correct it") from None
        if not all(isinstance(label, str) for label in labels):
            raise ConvertError(f"{path} holds a JSON list with other things than strings: give names only")
    if not labels:
        raise ConvertError(f"{path} holds no labels: give one a line, or a JSON list")
    for number, label in enumerate(labels, 1):
        if not label or not label.isprintable():
            raise ConvertError(f"label {number} of {path} is empty or holds control characters: correct it")
    return tuple(labels)


def _labelled(meta: Metadata, path: Path | None) -> tuple[Metadata, tuple[str, ...]]:
    classes = meta.architecture.classes
    if path is None and (meta.labels or classes != 1000):
        return meta, ()
    labels = read_labels(path or IMAGENET_LABELS)
    if len(labels) != classes:
        raise ConvertError(f"{path} holds {len(labels)} labels, the network has {classes} classes: make them match")
    notes = () if path else ("1000 classes are named as ImageNet's (give others with --labels)",)
    return replace(meta, labels=labels), notes


def _check(rows: list[Agreement], precision: str, reference: str) -> None:
    for row in rows:
        if not math.isfinite(row.difference):
            raise ConvertError(
                f"the network of k={row.k} answers with numbers that are not finite, so no file was kept: "
                "its weights are damaged"
            )
        if precision == FP32.name and not row.within:
            raise ConvertError(
                f"the converted network differs from {reference}'s by {row.difference:.3g} at k={row.k}, so no file "
                "was kept: check the checkpoint's weights, and report it if they are sound"
            )


def _renamed(error: Exception, part: Path, output: Path) -> str:
    return str(error).replace(str(part), str(output))
