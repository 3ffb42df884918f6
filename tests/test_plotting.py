"""Matplotlib, where it is installed and where it is not."""

import re
import sys
from pathlib import Path

import pytest

from hydrart import plotting
from hydrart.errors import MissingExtraError, SettingError
from hydrart.installation import install_command


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    for ask in (plotting.figure_class, lambda: plotting.check_target(tmp_path / "x.png")):
        with pytest.raises(
            MissingExtraError, match=re.escape(f"Matplotlib: install it with: {install_command('bench')}")
        ):
            ask()


@pytest.mark.parametrize(("name", "possible"), [("x.png", True), (".", False), ("none/x.png", False)])
def test_targets(name: str, possible: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    if possible:
        plotting.check_target(tmp_path / name)
        return
    with pytest.raises(SettingError, match="name a file in a folder that exists"):
        plotting.check_target(tmp_path / name)
