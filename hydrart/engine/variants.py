"""Choose among files of the same network: NAME.safetensors, NAME-bf16.safetensors, NAME-int8.safetensors."""

from pathlib import Path

from hydrart.errors import SettingError, WeightFileError
from hydrart.format.precision import FP32, PRECISIONS, Precision
from hydrart.format.reader import WeightFile

AUTO = "auto"
PRECISION_CHOICES = (AUTO, *PRECISIONS)
MAX_LOSS = 0.003  # "auto" accepts a file whose top-1 is at most this much lower than the named file's, at every k


def open_variant(path: Path, precision: str, backend: str, mapped: bool = True) -> WeightFile:
    """Open the named file, or the file beside it that has the precision.

    precision: one of PRECISION_CHOICES. "auto" considers the files beside the named one that were made from the same
    checkpoint, and whose recorded top-1 is at most MAX_LOSS lower at every k. It takes the fastest of them on this CPU.
    It takes the named file where no accuracy is recorded, and with any backend but native. Raises WeightFileError,
    SettingError.
    """
    if precision not in PRECISION_CHOICES:
        raise SettingError(f"precision {precision!r} is unknown: choose from {', '.join(PRECISION_CHOICES)}")
    file = WeightFile(path, mapped)
    if precision == file.meta.precision or (precision == AUTO and backend != "native"):
        return file
    if precision != AUTO:
        other = _beside(file, precision)
        if other is None:
            stored = file.meta.precision
            lower = PRECISIONS[precision].bytes < PRECISIONS[stored].bytes
            source = path if lower else f"CHECKPOINT (from {file.meta.source})"
            raise SettingError(
                f"{path} stores {stored}, not {precision}: "
                f"make such a file with: hydrart convert {source} --precision {precision} -o OUT.safetensors"
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
    """The names of the precisions, from the fastest to the slowest on this CPU."""
    from hydrart.codegen.isa import choose

    isa = choose()

    def slow(precision: Precision) -> tuple[bool, int]:
        # fewer bytes are faster, but integers that the CPU has to multiply as float32 are the slowest
        return precision.scaled and isa.dot(precision.name) == isa.dot(FP32.name), precision.bytes

    return tuple(precision.name for precision in sorted(PRECISIONS.values(), key=slow))


def _beside(file: WeightFile, precision: str) -> WeightFile | None:
    path = file.path.with_name(f"{file.path.stem}-{precision}{file.path.suffix}")
    if not path.is_file():
        return None
    try:
        other = WeightFile(path, file.mapped)
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
