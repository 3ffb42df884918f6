"""A run as a picture: which panels it has, and that it is a PNG."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydrart.device.profiles import Device
from hydrart.lab.plot import draw
from tests.support.worlds import BOARD, HOT, outcome, world


@pytest.mark.parametrize(
    ("device", "panels"), [(BOARD, 2), (HOT, 3), (replace(HOT, capacity_wh=10.0), 4)], ids=["plain", "heat", "battery"]
)
def test_a_panel_for_each_thing_that_the_profile_knows(
    device: Device, panels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="Matplotlib is not installed (extra: bench)")
    drawn: list[int] = []
    save = figure.Figure.savefig

    def count_and_save(self: Any, *args: Any, **options: Any) -> None:
        drawn.append(len(self.axes))
        save(self, *args, **options)

    monkeypatch.setattr(figure.Figure, "savefig", count_and_save)
    of = world(device, duration_s=10)
    draw(of, outcome("governor", of), tmp_path / "x.png")
    assert drawn == [panels] and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
