"""Matplotlib, an optional dependency: every picture is drawn through this module."""

from pathlib import Path
from typing import Any

from hydrart.errors import SettingError, import_extra


def check_target(path: Path) -> None:
    """Check before the work begins whether a picture can be written to this path.

    Raises MissingExtraError without Matplotlib, SettingError where the file cannot be written.
    """
    figure_class()
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"the picture {path} cannot be written: name a file in a folder that exists")


def figure_class() -> Any:
    """Return matplotlib.figure.Figure. Raises MissingExtraError."""
    return import_extra("matplotlib.figure", "a plot", "Matplotlib", "bench").Figure


def log_axis(axes: Any, label: str) -> None:
    """Give the axes a logarithmic x axis with plain numbers and this label."""
    axes.set_xscale("log", subs=[2, 5])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel(label)
