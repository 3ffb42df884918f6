"""Accuracy and speed over folders of pictures: root/CLASS/*."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydrart.errors import PictureError, SourceError
from hydrart.format.metadata import Accuracy
from hydrart.model import Model
from hydrart.picture.preprocess import picture_files


@dataclass
class Row:
    """What one k reached. top1, top5: shares from 0 to 1; pictures_per_s: preprocessing and inference together."""

    k: int
    top1: float = 0.0
    top5: float = 0.0
    pictures_per_s: float = 0.0


@dataclass
class Evaluation:
    """pictures: how many were read; skipped: the sentences about those that could not be."""

    pictures: int
    skipped: list[str]
    rows: list[Row]

    def accuracy(self, dataset: str) -> Accuracy:
        """What a weight file says of it; dataset: the name of what was measured on."""
        top1 = {row.k: row.top1 for row in self.rows}
        top5 = {row.k: row.top5 for row in self.rows}
        return Accuracy(dataset, self.pictures, top1, top5)


def class_folders(root: Path) -> dict[str, list[Path]]:
    """The pictures of each class folder, by name. Raises SourceError where there are none."""
    if not os.path.isdir(root):
        raise SourceError(f"{root} is no folder: pass one that holds a folder of pictures per class")
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{root} cannot be read: {error.strerror}") from None
    found = {folder.name: picture_files(folder) for folder in folders}
    if not any(found.values()):
        raise SourceError(f"{root} holds no pictures in class folders: it must look like {root}/cat/1.jpg")
    return found


def class_indices(folders: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The class of each folder: by its label; where none is a label and there are as many as classes, by order.

    Folders that are named by numbers are ordered by them. Raises SourceError.
    """
    by_label = {label.casefold(): i for i, label in enumerate(labels)}
    unknown = [name for name in folders if name.casefold() not in by_label]
    if not unknown:
        return [by_label[name.casefold()] for name in folders]
    if len(unknown) == len(folders) == len(labels):
        numbered = all(name.isdecimal() for name in folders)
        order = sorted(folders, key=int) if numbered else sorted(folders)
        return [order.index(name) for name in folders]
    raise SourceError(
        f"the folder {unknown[0]} is none of the network's {len(labels)} classes: name folders by their label, "
        "or give one per class in the order of the classes"
    )


def evaluate(
    model: Model,
    root: Path,
    ks: Sequence[int],
    *,
    batch: int = 64,
    step: Callable[[int], None] = lambda pictures: None,
) -> Evaluation:
    """Classify every picture below root with every k. step: is told how many pictures were just done.

    Raises SourceError where no picture can be read.
    """
    folders = class_folders(root)
    indices = class_indices(list(folders), model.labels)
    entries = [(path, i) for i, files in zip(indices, folders.values(), strict=True) for path in files]
    correct = {k: np.zeros(2, int) for k in ks}
    seconds = dict.fromkeys(ks, 0.0)
    read_seconds, count, skipped = 0.0, 0, []
    model.warm_up(*ks)
    for at in range(0, len(entries), batch):
        chunk = entries[at : at + batch]
        start = time.perf_counter()
        inputs, classes = [], []
        for path, index in chunk:
            try:
                inputs.append(model.preprocess(path))
                classes.append(index)
            except PictureError as error:
                skipped.append(str(error))
        read_seconds += time.perf_counter() - start
        if inputs:
            x, y = np.concatenate(inputs), np.array(classes)
            for k in ks:
                start = time.perf_counter()
                logits = model.logits(x, k)
                seconds[k] += time.perf_counter() - start
                own = logits[np.arange(len(y)), y][:, None]
                rank = (logits > own).sum(axis=1)
                correct[k] += [(rank < 1).sum(), (rank < 5).sum()]
            count += len(y)
        step(len(chunk))
    if not count:
        raise SourceError(f"{root} holds no readable picture: all {len(skipped)} failed, the first: {skipped[0]}")
    rows = [
        Row(k, float(correct[k][0] / count), float(correct[k][1] / count), count / (read_seconds + seconds[k]))
        for k in ks
    ]
    return Evaluation(count, skipped, rows)
