"""Write docs/governor-parameters.md: parameters from their dataclasses, changes as tools/sensitivity.py measured."""

from pathlib import Path
from typing import Any

from hydrart.governor.parameters import DEFAULTS, described
from tools.results_tables import insert

_LITTLE = 2e-4  # a change below this, a fiftieth of a point, counts as none


def write(record: dict[str, Any], path: Path) -> None:
    """Replace the page's tables."""
    insert(tables(record), path)


def tables(record: dict[str, Any]) -> str:
    """The text between the markers: the runs, the table, and the parameters that change nothing."""
    what, base = record["run"], record["base"]
    moves = {f"`{name}`": _moves(change) for name, change in record["changes"].items()}
    without = [name for name, most in moves.items() if most == 0]
    little = [name for name, most in moves.items() if 0 < most < _LITTLE]
    parts = [
        f"Measured on the traces {', '.join(what['traces'])}, made for tuning, at "
        f"{' and '.join(map(str, what['rates']))} frames a second, for {what['seconds']:g} s each. With the values as "
        f"they are, {base['late']:.2%} of the frames are late and the accuracy is {base['accuracy']:.2%}.",
        "",
        "In the columns *half* and *twice*, the first figures are the changes of late frames and accuracy, in points. "
        "A third figure is the change of kelvin seconds above the target per run, where that is 0.5 or more.",
        "",
    ]
    parts += ["| parameter | value | meaning | source | half | twice |", "|---|---|---|---|---|---|"]
    for name, (value, about) in described(DEFAULTS).items():
        change = record["changes"][name]
        half, twice = (f"{_change(change[f])}. {text}" for f, text in (("half", about.half), ("twice", about.twice)))
        parts.append(f"| `{name}` | {value:g} {about.unit} | {about.meaning} | {about.source} | {half} | {twice} |")
    for names, what_moves in ((without, "anything"), (little, "late frames or accuracy by a fiftieth of a point")):
        if names:
            parts += ["", f"Neither half nor twice of these changes {what_moves} on these traces: {', '.join(names)}."]
    return "\n".join([*parts, ""])


def changes(record: dict[str, Any]) -> str:
    """A line for each parameter, for the terminal."""
    base = record["base"]
    lines = [f"as it is: {base['late']:.2%} late, accuracy {base['accuracy']:.2%}"]
    for name, change in record["changes"].items():
        lines.append(f"{name:28} half {_change(change['half']):24} twice {_change(change['twice'])}")
    return "\n".join(lines)


def _moves(change: dict[str, dict[str, float]]) -> float:
    """The largest change of late frames or of accuracy, as a share of all frames."""
    return max(abs(figures[key]) for figures in change.values() for key in ("late", "accuracy"))


def _change(figures: dict[str, float]) -> str:
    heat = figures["over_target_c_s"]
    parts = [f"{round(100 * figures[key], 3) + 0.0:+.3f}" for key in ("late", "accuracy")]  # no negative zero
    return ", ".join([*parts, f"{heat:+.0f} C s"] if abs(heat) >= 0.5 else parts)
