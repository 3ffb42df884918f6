"""Matplotlib, where it is installed."""

import importlib
from pathlib import Path
from typing import Any

from hydrart.errors import MissingExtraError, SettingError


def check(path: Path) -> None:
    """Raises MissingExtraError where there is no Matplotlib, SettingError where the file could not be written."""
    figure_class()
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"the picture {path} cannot be written: name a file in a folder that exists")


def figure_class() -> Any:
    """matplotlib.figure.Figure. Raises MissingExtraError."""
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingExtraError("--plot", "Matplotlib", "bench") from None
