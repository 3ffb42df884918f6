"""The picture of a benchmark."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")

from hydrart import plotting
from hydrart.bench.chart import draw
from tests.support.benching import REPORT


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of each figure that is saved."""
    seen: list[Any] = []
    figure_class = plotting.figure_class()

    class Figure(figure_class):  # type: ignore[misc, valid-type]
        def savefig(self, *args: Any, **options: Any) -> None:
            seen.extend(self.axes)
            super().savefig(*args, **options)

    monkeypatch.setattr("hydrart.bench.chart.figure_class", lambda: Figure)
    return seen


def test_a_line_for_each_runtime(axes: list[Any], tmp_path: Path) -> None:
    draw(REPORT, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "PNG" and image.width > 500 and len(np.unique(np.asarray(image))) > 10
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes[0].get_lines()}
    assert lines == {
        "hydrart int8": [[2.0, 75.0], [4.0, 80.0]],
        "openvino 2026.1 int8 plain": [[7.0, 80.0]],
    }, "a runtime without times has no line"
    assert [text.get_text() for text in axes[0].texts] == ["k=1", "k=3"]
    assert axes[0].get_ylabel() == "top-1 accuracy, %" and axes[0].get_xscale() == "log"


def test_heads_replace_an_unknown_accuracy(axes: list[Any], tmp_path: Path) -> None:
    rows = [REPORT.rows[0], replace(REPORT.rows[1], top1=None)]
    draw(replace(REPORT, rows=rows), tmp_path / "x.png")
    assert axes[0].get_ylabel() == "heads" and axes[0].get_lines()[0].get_ydata().tolist() == [1, 3]
