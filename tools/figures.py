"""Pictures for the documents. All raise MissingExtraError without Matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.plotting import figure_class, log_axis

Curve = Mapping[int, float]
"""Number of heads -> top-1 accuracy, 0 to 1."""

_MARKERS = "so^vDPX"


def accuracy_curves(path: Path, curves: Mapping[str, Curve], gmacs: Mapping[int, float]) -> None:
    """Draw the top-1 of named curves, once over the heads and once over their GMACs."""
    figure = figure_class()(figsize=(9, 3.8), layout="constrained")
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
    log_axis(right, "GMACs")
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
    """Draw nested networks as curves and networks trained alone as points, over GMACs and over known latencies."""
    figure = figure_class()(figsize=(9.5 if latency else 6, 4.2), layout="constrained")
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
    log_axis(panels[0], "GMACs")
    panels[0].set_ylabel("top-1 accuracy, %")
    if latency:
        log_axis(panels[1], "latency of one picture, ms (median)")
    panels[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=9)
    _save(figure, path)


def confusion(path: Path, counts: NDArray[np.int64], labels: Sequence[str], title: str) -> None:
    """Draw counts, [true class, answer], in percent of each true class."""
    share = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 1.8 + 0.5 * len(labels)
    figure = figure_class()(figsize=(size, size), layout="constrained")
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


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png", dpi=130)
