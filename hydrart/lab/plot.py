"""Draw a simulated run over time: k, latency and deadline, temperature, battery."""

from pathlib import Path
from typing import Any

import numpy as np

from hydrart.lab.simulate import Outcome, World
from hydrart.plotting import figure_class


def draw(world: World, outcome: Outcome, path: Path) -> None:
    """Write a PNG. Raises MissingExtraError without Matplotlib, OSError."""
    minutes = world.times / 60
    ran = outcome.k > 0
    panels = ["k", "age"]
    if world.device.thermal:
        panels.append("heat")
    if world.start_wh is not None:
        panels.append("battery")
    figure = figure_class()(figsize=(9, 1.2 + 1.7 * len(panels)), layout="constrained")
    axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for name, axis in zip(panels, axes[:, 0], strict=True):
        axis.grid(True, alpha=0.3)
        if name == "k":
            axis.plot(minutes[ran], outcome.k[ran], linewidth=0.8, drawstyle="steps-post")
            axis.set_ylabel("k")
            axis.set_ylim(min(world.ks) - 0.5, max(world.ks) + 0.5)
        elif name == "age":
            late = outcome.missed & ran
            axis.plot(minutes[ran & ~late], outcome.age_ms[ran & ~late], ".", markersize=1, label="in time")
            axis.plot(minutes[late], outcome.age_ms[late], ".", color="tab:red", markersize=3, label="late")
            axis.plot(minutes, world.deadline_ms, color="black", linewidth=1, label="deadline")
            axis.set_ylim(0, 2.2 * float(np.median(world.deadline_ms)))
            axis.set_ylabel("age at answer, ms")
            axis.legend(loc="upper right", fontsize=7, ncols=3)
        elif name == "heat":
            axis.plot(minutes, outcome.temp_c, linewidth=1, label="CPU")
            axis.plot(minutes, world.ambient_c, linewidth=1, color="tab:gray", label="ambient")
            if world.target_c is not None:
                axis.axhline(world.target_c, color="tab:orange", linewidth=1, linestyle="--", label="target")
            if world.throttle_c is not None:
                axis.axhline(world.throttle_c, color="tab:red", linewidth=1, linestyle="--", label="throttles")
            axis.margins(y=0.1)
            axis.set_ylabel("temperature, C")
            axis.legend(loc="center right", fontsize=7, ncols=4)
        else:
            axis.plot(minutes, 100 * outcome.left, linewidth=1)
            axis.set_ylabel("battery, %")
            axis.set_ylim(0, None)
    axes[0, 0].set_title(
        f"{outcome.policy}: {world.device.name}, {world.trace.name}, {world.goals.fps:g} fps; "
        f"late {outcome.miss_rate:.2%}, accuracy {outcome.accuracy:.2%}",
        fontsize=9,
    )
    axes[-1, 0].set_xlabel("minutes")
    figure.savefig(path, format="png", dpi=110)
