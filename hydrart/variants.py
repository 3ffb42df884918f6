"""The same network in several precisions: NAME.safetensors beside NAME-bf16.safetensors and NAME-int8.safetensors."""

from pathlib import Path

from hydrart.errors import SettingError, WeightFileError
from hydrart.format.reader import WeightFile

PRECISIONS = ("auto", "fp32", "bf16", "int8")
MAX_LOSS = 0.003  # of top-1, at any k, against the file that was asked for


def open_variant(path: Path, precision: str, backend: str) -> WeightFile:
    """The file in the precision that was asked for, or, for auto, the fastest one that is as accurate.

    auto looks at files beside it that were made from the same checkpoint, and takes the fastest on this CPU whose
    recorded top-1 is nowhere more than MAX_LOSS below; without recorded accuracies, the file itself. Raises
    WeightFileError, SettingError.
    """
    if precision not in PRECISIONS:
        raise SettingError(f"precision {precision!r} is unknown: choose from {', '.join(PRECISIONS)}")
    file = WeightFile(path)
    if precision == file.meta.precision or (precision == "auto" and backend != "native"):
        return file
    if precision != "auto":
        other = _beside(file, precision)
        if other is None:
            raise SettingError(
                f"{path} stores {file.meta.precision}, not {precision}: "
                f"make such a file with: hydrart convert {path} --precision {precision} -o OUT.safetensors"
            )
        return other
    for name in _fastest():
        if name == file.meta.precision:
            return file
        other = _beside(file, name)
        if other is not None and _as_accurate(other, file):
            return other
    return file


def _fastest() -> tuple[str, ...]:
    """Precisions by speed on this CPU."""
    from hydrart.codegen.isa import choose

    return ("bf16", "fp32", "int8") if choose().int8 == "fma" else ("int8", "bf16", "fp32")


def _beside(file: WeightFile, precision: str) -> WeightFile | None:
    path = file.path.with_name(f"{file.path.stem}-{precision}{file.path.suffix}")
    if not path.is_file():
        return None
    try:
        other = WeightFile(path)
    except WeightFileError:
        return None
    same = (
        other.meta.precision == precision
        and other.meta.architecture == file.meta.architecture
        and other.meta.labels == file.meta.labels
        and other.meta.source_sha256 == file.meta.source_sha256
    )
    return other if same else None


def _as_accurate(other: WeightFile, file: WeightFile) -> bool:
    found, wanted = other.meta.accuracy, file.meta.accuracy
    if found is None or wanted is None or (found.dataset, found.pictures) != (wanted.dataset, wanted.pictures):
        return False
    return all(k in found.top1 and found.top1[k] >= wanted.top1[k] - MAX_LOSS for k in wanted.top1)
