"""Read class folders of pictures into one tensor in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydrart.errors import PictureError
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.classes import Classes, class_indices, listed, normal
from hydrart.picture.folders import class_folders
from hydrart.picture.preprocess import read_picture, square
from hydrart.train.progress import SILENT, Progress
from hydrart.train.recipe import TrainError

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures [N, 3, size, size] and their classes, int64 [N]. labels: the name of each class."""

    x: Tensor
    y: Tensor
    labels: list[str]


def folders_of(data: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Find the pictures of data/train/CLASS/* and data/test/CLASS/*: class -> files, both in the order of train.

    The classes have the names of train's folders with composed letters (NFC). Raises TrainError where train and test
    have different classes, SourceError.
    """
    train, test = (class_folders(data / part) for part in ("train", "test"))
    labels = [normal(name) for name in train]
    if unprintable := [name for name in labels if not name.isprintable()]:
        raise TrainError(
            f"{data}/train holds the folder {unprintable[0]!r}, whose name cannot be a label: "
            "rename it, without control characters and in UTF-8"
        )
    if twice := [name for name, count in Counter(labels).items() if count > 1]:
        raise TrainError(f"{data}/train holds two folders called {twice[0]}: put their pictures into one")
    classes = Classes(labels)
    unknown = [name for name in test if not classes.of(name)]
    tests = {} if unknown else dict(zip(class_indices(list(test), labels), test.values(), strict=True))
    lacking = [label for i, label in enumerate(labels) if i not in tests]
    for part, names in (("train", unknown), ("test", lacking)):
        if names:
            raise TrainError(
                f"{data}/train and {data}/test hold different classes, {data}/{part} lacks {listed(names)}: "
                "make them the same"
            )
    return (
        dict(zip(labels, train.values(), strict=True)),
        {label: tests[i] for i, label in enumerate(labels)},
    )


def read_pictures(
    root: Path,
    folders: Mapping[str, Sequence[Path]],
    spec: Preprocessing,
    threads: int = 1,
    progress: Progress = SILENT,
) -> Pictures:
    """Decode every picture of root/CLASS/* once, of any size. Unreadable ones are reported and left out.

    folders: class -> files. Raises TrainError for fewer than two classes, and for a class without a readable picture.
    """
    if len(folders) < 2:
        raise TrainError(f"{root} holds {len(folders)} class folders: training needs at least two")
    for name, files in folders.items():
        if not files:
            raise TrainError(f"{root / name} holds no readable picture: add some or remove the folder")
    files = [file for folder in folders.values() for file in folder]
    classes = [i for i, folder in enumerate(folders.values()) for _ in folder]
    try:
        x = np.empty((len(files), 3, spec.size, spec.size), np.uint8)
    except MemoryError:
        raise TrainError(
            f"the {len(files)} pictures of {root} do not fit into memory at {spec.size} pixels: "
            "give fewer, or a smaller --image-size"
        ) from None

    def read(file: Path) -> NDArray[np.uint8] | str:
        try:
            return square(read_picture(file), spec).transpose(2, 0, 1)
        except PictureError as error:
            return str(error)

    kept: list[int] = []
    with (
        ThreadPoolExecutor(threads) as pool,
        progress.stage(f"Reading {root}", len(files)) as step,
    ):
        for i, result in enumerate(pool.map(read, files)):
            if isinstance(result, str):
                progress.note(f"skipped: {result}")
            else:
                x[len(kept)] = result
                kept.append(classes[i])
            step(1)
    for i, name in enumerate(folders):
        if i not in set(kept):
            raise TrainError(f"{root / name} holds no readable picture: add some or remove the folder")
    return Pictures(torch.from_numpy(x[: len(kept)]), torch.tensor(kept), list(folders))


def mean_and_std(x: Tensor) -> tuple[Three, Three]:
    """Mean and std per channel of uint8 [N, 3, S, S], scaled to 0..1 and rounded to four digits."""
    sums, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for chunk in torch.split(x, 1024):
        values = chunk.float() / 255
        sums += values.mean((2, 3), dtype=torch.float64).sum(0)
        squares += values.square().mean((2, 3), dtype=torch.float64).sum(0)
    mean = sums / len(x)
    std = (squares / len(x) - mean**2).clamp(min=1 / 255**2).sqrt()  # not 0, even where all pixels are equal
    return _three(mean), _three(std)


def _three(values: Tensor) -> Three:
    r, g, b = (round(float(value), 4) for value in values)
    return r, g, b
