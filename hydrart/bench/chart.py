"""Draw the benchmark: accuracy over latency, one point for each k, one line for each runtime."""

from pathlib import Path
from typing import Any

from hydrart.bench.benchmark import BenchReport
from hydrart.bench.report import title
from hydrart.plotting import figure_class, log_axis


def draw(report: BenchReport, path: Path) -> None:
    """Write a PNG. The number of heads replaces an unknown accuracy, such as that of random weights.

    Raises MissingExtraError without Matplotlib, OSError.
    """
    figure = figure_class()(figsize=(7, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    known = all(row.top1 is not None for row in report.rows)
    heights = {row.k: 100 * row.top1 if known and row.top1 is not None else row.k for row in report.rows}
    series: dict[str, list[tuple[float, float]]] = {
        f"hydrart {report.precision}": [(row.times.p50_ms, heights[row.k]) for row in report.rows]
    }
    for row in report.rows:
        for peer in row.peers:
            if peer.times:
                name = f"{peer.name} {peer.version} {peer.executed}{' plain' * peer.plain}"
                series.setdefault(name, []).append((peer.times.p50_ms, heights[row.k]))
    for i, (name, points) in enumerate(series.items()):
        axes.plot(*zip(*points, strict=True), marker="so^vD"[i % 5], linewidth=2 if i == 0 else 1, label=name)
    for row in report.rows:
        place = row.times.p50_ms, heights[row.k]
        axes.annotate(f"k={row.k}", place, (4, -10), textcoords="offset points", fontsize=7)
    log_axis(axes, "latency, ms (median)")
    axes.set_ylabel("top-1 accuracy, %" if known else "heads")
    axes.set_title(title(report), fontsize=9, wrap=True)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, format="png", dpi=150)
