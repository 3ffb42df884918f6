"""Accuracy over folders of pictures."""

from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.bench.evaluate import evaluate
from hydrart.errors import SourceError
from tests.support.commands import class_tree, noise
from tests.support.networks import CIFAR


def ranks(model: hydrart.Model, root: Path, k: int) -> list[int]:
    """For each picture, how many classes the model prefers to the right one."""
    found = []
    for path in sorted(root.glob("*/*.png")):
        order = [label for label, _ in model(path, k).top(10)]
        found.append(order.index(path.parent.name))
    return found


def test_accuracy_is_that_of_single_answers(model: hydrart.Model, tmp_path: Path) -> None:
    root = class_tree(tmp_path, {i: CIFAR[i % 10] for i in range(23)})
    steps: list[int] = []
    found = evaluate(model, root, (3, 12), batch=4, step=steps.append)
    assert sum(steps) == found.pictures == 23 and max(steps) == 4 and not found.skipped
    for row in found.rows:
        expected = ranks(model, root, row.k)
        assert row.top1 == pytest.approx(np.mean([rank < 1 for rank in expected]))
        assert row.top5 == pytest.approx(np.mean([rank < 5 for rank in expected]))
        assert row.pictures_per_s > 0
    assert [row.k for row in found.rows] == [3, 12]


def test_a_network_that_is_right_is_right(model: hydrart.Model, tmp_path: Path) -> None:
    class_tree(tmp_path, {i: model(noise(i), 12).label for i in range(5)})
    for name in CIFAR:
        (tmp_path / name).mkdir(exist_ok=True)
    (row,) = evaluate(model, tmp_path, [12]).rows
    assert (row.top1, row.top5) == (1.0, 1.0)
    accuracy = evaluate(model, tmp_path, [12]).accuracy("made up")
    assert (accuracy.dataset, accuracy.pictures, accuracy.top1, accuracy.top5) == ("made up", 5, {12: 1.0}, {12: 1.0})


def test_pictures_that_cannot_be_read_do_not_count(model: hydrart.Model, tmp_path: Path) -> None:
    class_tree(tmp_path, {0: CIFAR[0], 1: CIFAR[1]})
    (tmp_path / CIFAR[0] / "broken.png").write_bytes(b"nothing")
    found = evaluate(model, tmp_path, [3])
    assert found.pictures == 2 and len(found.skipped) == 1 and "broken.png" in found.skipped[0]
    for path in tmp_path.glob("*/[01].png"):
        path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match="holds no readable picture: all 3 failed, the first: "):
        evaluate(model, tmp_path, [3])


def test_renamed_folders_are_not_taken_in_order_unasked(model: hydrart.Model, tmp_path: Path) -> None:
    names = [f"n{i:02}" for i in range(10)]
    root = class_tree(tmp_path, dict(enumerate(names)))
    with pytest.raises(SourceError, match=r"the folder n00 is none of the network's 10 classes \(airplane, automobile"):
        evaluate(model, root, [3])
    assert evaluate(model, root, [3], in_order=True).pictures == 10
