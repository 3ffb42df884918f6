"""The measured part of a model card."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.colours import run_tool
from tests.support.commands import class_tree
from tests.support.networks import CIFAR

pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")

import hydrart
from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tools import card


@pytest.fixture
def measured(make_weights: Callable[..., Path], tmp_path: Path) -> Path:
    """A weight file that knows an accuracy and a history."""
    file = WeightFile(make_weights())
    top1 = {k: k / 20 for k in file.heads}
    accuracy = Accuracy("made up", 7, top1, top1)
    path = tmp_path / "x.safetensors"
    copy_prefix(file, path, replace(file.meta, accuracy=accuracy, history=({"epochs": 3, "init_sha256": "ab"},)))
    return path


def test_answers_are_counted_by_class(measured: Path, tmp_path: Path) -> None:
    model = hydrart.load(measured, threads=1)
    truth = {i: CIFAR[i % 10] for i in range(12)}
    root = class_tree(tmp_path / "test", truth)
    (root / CIFAR[0] / "broken.png").write_bytes(b"nothing")
    for name in CIFAR[2:]:
        (root / name).mkdir(exist_ok=True)
    counts = card.count_answers(model, root)
    expected = np.zeros((10, 10), int)
    for i, name in truth.items():
        expected[CIFAR.index(name), CIFAR.index(model(root / name / f"{i}.png").label)] += 1
    assert np.array_equal(counts, expected) and counts.sum() == 12


def test_the_card_gets_figures_and_keeps_its_text(measured: Path, tmp_path: Path) -> None:
    root = class_tree(tmp_path / "test", {0: CIFAR[0], 1: CIFAR[1]})
    page = tmp_path / "card.md"
    page.write_text(f"before\n{card.CARD_BEGIN}\nold\n{card.CARD_END}\nafter\n")
    for _ in range(2):
        result = run_tool(card.main, measured, "--test", root, "--card", page, "--threads", 1)
        assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| top-1, fp32, % | 15.0 | 20.0 |") == 1
    assert "1. epochs 3\n" in text
    for name in ("accuracy.png", "confusion.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG") and name in text


def test_most_frequent_mistakes_come_first() -> None:
    counts = np.array([[90, 10, 0], [30, 60, 10], [0, 0, 100]])
    (line,) = card.confusion_lines(counts, ["cat", "dog", "ship"])
    assert "best: ship (100 %)" in line and "least: dog (60 %)" in line
    assert "dog as cat 30 %; " in line and line.index("dog as cat") < line.index("cat as dog")


def test_cards_without_a_place_and_files_without_accuracy(
    measured: Path, make_weights: Callable[..., Path], tmp_path: Path
) -> None:
    root = class_tree(tmp_path / "test", {0: CIFAR[0], 1: CIFAR[1]})
    page = tmp_path / "card.md"
    page.write_text("nothing")
    result = run_tool(card.main, measured, "--test", root, "--card", page)
    assert result.exit_code == 1 and "put them where" in result.stderr
    assert page.read_text() == "nothing"
    result = run_tool(card.main, make_weights(seed=3), "--test", root, "--card", page)
    assert result.exit_code == 1 and "eval --record" in result.stderr
