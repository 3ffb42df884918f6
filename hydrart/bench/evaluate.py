"""Measure the accuracy and the speed of a model on the pictures root/CLASS/*."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydrart.errors import PictureError, SourceError
from hydrart.format.merging import Merge
from hydrart.format.metadata import Accuracy
from hydrart.model import Model
from hydrart.picture.classes import class_indices
from hydrart.picture.folders import class_folders


@dataclass
class EvaluationRow:
    """The result of one k. top1, top5: accuracy, 0 to 1; pictures_per_s: with preprocessing and inference."""

    k: int
    top1: float = 0.0
    top5: float = 0.0
    pictures_per_s: float = 0.0


@dataclass
class Evaluation:
    """The results of all ks.

    - pictures: how many were classified.
    - skipped: a sentence for each picture that could not be read.
    """

    pictures: int
    skipped: list[str]
    rows: list[EvaluationRow]

    def accuracy(self, dataset: str) -> Accuracy:
        """The accuracy as a weight file records it. dataset: name of the data set."""
        top1 = {row.k: row.top1 for row in self.rows}
        top5 = {row.k: row.top5 for row in self.rows}
        return Accuracy(dataset, self.pictures, top1, top5)


def evaluate(
    model: Model,
    root: Path,
    ks: Sequence[int],
    *,
    batch: int = 64,
    in_order: bool = False,
    merge: Merge = 0,
    step: Callable[[int], None] = lambda pictures: None,
) -> Evaluation:
    """Classify every picture of root/CLASS/* with each of the ks.

    batch: pictures per call. in_order: the sorted folders are the classes in their order, whatever their names are.
    They always are for a network without labels. merge: how many tokens each block merges, as Model.logits takes it.
    step: called after each batch with the number of its pictures.

    Raises SourceError where no picture can be read, and where the folders do not fit the labels. Raises SettingError
    for a merge that does not fit.
    """
    folders = class_folders(root)
    indices = class_indices(list(folders), model.labels, in_order or not model.file.meta.labels)
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
                logits = model.logits(x, k, merge=merge)
                seconds[k] += time.perf_counter() - start
                own = logits[np.arange(len(y)), y][:, None]
                rank = (logits > own).sum(axis=1)
                correct[k] += [(rank < 1).sum(), (rank < 5).sum()]
            count += len(y)
        step(len(chunk))
    if not count:
        raise SourceError(f"{root} holds no readable picture: all {len(skipped)} failed, the first: {skipped[0]}")
    rows = []
    for k in ks:
        top1, top5 = (correct[k] / count).tolist()
        rows.append(EvaluationRow(k, top1, top5, count / (read_seconds + seconds[k])))
    return Evaluation(count, skipped, rows)
