"""Pictures for the documentation, drawn with Matplotlib."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import MissingExtraError

Curve = Mapping[int, float]  # a share from 0 to 1 for each k
_MARKERS = "so^vDPX"


def check() -> None:
    """Raises MissingExtraError where there is no Matplotlib."""
    _figure_class()


def accuracy_curves(path: Path, curves: Mapping[str, Curve], gmacs: Mapping[int, float]) -> None:
    """Top-1 of each curve over the heads, and over the GMACs that they take."""
    figure = _figure_class()(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for i, (name, top1) in enumerate(curves.items()):
        ks = sorted(top1)
        percent = [100 * top1[k] for k in ks]
        style = {"marker": _MARKERS[i % len(_MARKERS)], "linewidth": 1.2, "markersize": 4, "label": name}
        left.plot(ks, percent, **style)
        right.plot([gmacs[k] for k in ks], percent, **style)
    left.set_xticks(sorted(gmacs))
    left.set_xlabel("heads k")
    left.set_ylabel("top-1 accuracy, %")
    _gmacs_axis(right)
    for axes in (left, right):
        axes.grid(True, alpha=0.3)
    left.legend(fontsize=8)
    _save(figure, path)


def comparison(
    path: Path,
    nested: Mapping[str, Curve],
    alone: Curve,
    gmacs: Mapping[int, float],
    latency: Mapping[int, float],
    title: str,
) -> None:
    """Nested networks' curves and individually trained networks' points, over GMACs and over latency where known."""
    figure = _figure_class()(figsize=(9.5 if latency else 6, 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, 2 if latency else 1, sharey=True))
    for axes, places in zip(panels, (gmacs, latency), strict=False):
        for i, (name, top1) in enumerate(nested.items()):
            ks = sorted(top1)
            marker = _MARKERS[i % len(_MARKERS)]
            axes.plot([places[k] for k in ks], [100 * top1[k] for k in ks], marker=marker, markersize=4, label=name)
        if alone:
            ks = sorted(alone)
            percent = [100 * alone[k] for k in ks]
            axes.scatter([places[k] for k in ks], percent, marker="*", s=130, color="black", zorder=3)
            axes.plot([], [], "k*", markersize=10, label="trained alone")
        axes.grid(True, which="both", alpha=0.3)
    _gmacs_axis(panels[0])
    panels[0].set_ylabel("top-1 accuracy, %")
    if latency:
        _log_axis(panels[1], "latency of one picture, ms (median)")
    panels[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=9)
    _save(figure, path)


def confusion(path: Path, counts: NDArray[np.int64], labels: Sequence[str], title: str) -> None:
    """counts [true class, answer] as shares of the true class, in percent."""
    share = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 1.8 + 0.5 * len(labels)
    figure = _figure_class()(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(*share.shape):
        if counts[row, column]:
            colour = "white" if share[row, column] > 55 else "black"
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("picture of")
    axes.set_title(title, fontsize=9)
    _save(figure, path)


def _gmacs_axis(axes: Any) -> None:
    _log_axis(axes, "GMACs")


def _log_axis(axes: Any, label: str) -> None:
    axes.set_xscale("log", subs=[2, 5])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel(label)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png", dpi=130)


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingExtraError("a picture", "Matplotlib", "bench") from None
