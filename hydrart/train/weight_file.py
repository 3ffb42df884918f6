"""Write a trained network as a weight file that records its own accuracy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from hydrart.bench.evaluate import Evaluation, evaluate
from hydrart.format.architecture import Architecture
from hydrart.format.metadata import Metadata, Training
from hydrart.format.precision import FP32
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix, sha256, write
from hydrart.model import load
from hydrart.picture.folders import class_folders
from hydrart.train.progress import Progress


def write_measured(
    state: Mapping[str, Tensor],
    arch: Architecture,
    preprocessing: Preprocessing,
    labels: list[str],
    *,
    dataset: str,
    checkpoint: Path,
    test: Path,
    output: Path,
    licence: str,
    history: tuple[Training, ...] = (),
    threads: int | None = None,
    progress: Progress,
) -> Evaluation:
    """Write an fp32 weight file, measure every k on the pictures test/CLASS/*, and store the accuracies in the file.

    history: the trainings that led to the weights, this one included.
    """
    meta = Metadata(
        architecture=arch,
        precision=FP32.name,
        preprocessing=preprocessing,
        labels=tuple(labels),
        licence=licence,
        source=checkpoint.name,
        source_sha256=sha256(checkpoint),
        history=history,
    )
    write(output, meta, {name: tensor.float().numpy() for name, tensor in state.items()})
    total = sum(map(len, class_folders(test).values()))
    with progress.stage(f"Evaluating {test}", total) as step:
        result = evaluate(load(output, threads=threads), test, arch.heads, step=step)
    file = WeightFile(output)
    copy_prefix(file, output, replace(file.meta, accuracy=result.accuracy(dataset)))
    return result
