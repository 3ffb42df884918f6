"""The tables of docs/governor-results.md from what tools/results.py measured."""

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from hydrart.lab.policies import ENDS_EARLY, OVER_TARGET_C
from tools.traces import TRACES

Row = dict[str, Any]
TABLES_START, TABLES_END = "<!-- results -->\n", "<!-- end of results -->\n"
BUSY = ("bursts", "memory", "square", "crowded", "recorded", "short", "flaky")


def write(rows: list[Row], path: Path) -> None:
    """The page's tables."""
    tables = sorted({row["table"] for row in rows}, reverse=True)
    parts = [
        short_table(rows),
        goals(rows),
        *(main_table(rows, table) for table in tables),
        *(policies_table(rows, table) for table in tables),
    ]
    insert("\n".join(parts), path)


def short_table(rows: list[Row]) -> str:
    """A short table of one rate and one set of accuracies."""
    policies = ("governor", "oracle", "static-oracle", "alert", "alert-tuned", "deadline-1.3")
    lines = [
        "### At 15 frames a second, accuracies of hydravit-b",
        "",
        "Delivered accuracy in percent, and in brackets the late frames in percent. "
        '"C over" is how far the temperature target was missed.',
        "",
        "| delivered accuracy, % (late, %) | " + " | ".join(policies) + " |",
        "|---|" + "---|" * len(policies),
    ]
    for trace, fps in cells(rows, "hydravit-b"):
        if fps == 15:
            here = [of(rows, trace=trace, fps=fps, table="hydravit-b", policy=policy) for policy in policies]
            values = [f"{100 * m(own, 'accuracy'):.2f} ({100 * m(own, 'miss_rate'):.2f}){_heat(own)}" for own in here]
            lines.append(f"| {trace} | " + " | ".join(values) + " |")
    return "\n".join([*lines, ""])


def insert(tables: str, path: Path) -> None:
    """Replace the text between the markers."""
    before, _, rest = path.read_text("utf-8").partition(TABLES_START)
    _, _, after = rest.partition(TABLES_END)
    path.write_text(before + TABLES_START + "\n" + tables + "\n" + TABLES_END + after, "utf-8")


def cells(rows: list[Row], table: str) -> list[tuple[str, int]]:
    """Trace and rate of every row of a table, in order."""
    return list(dict.fromkeys((row["trace"], row["fps"]) for row in rows if row["table"] == table))


def of(rows: Iterable[Row], **where: Any) -> list[Row]:
    """The rows that match, one per seed."""
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def spread(values: list[float], form: str = ".2f") -> str:
    """The mean, and the range over the seeds if it is visible."""
    middle, low, high = (format(value, form) for value in (mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}..{high})"


def main_table(rows: list[Row], table: str) -> str:
    """The governor in every trace, beside the oracle and both ALERTs."""
    lines = [
        f"### Accuracies of {table}",
        "",
        "Means over the seeds, with the range of late frames and accuracy. Accuracy is that of answers in time, in "
        "percent of all frames. Accuracy and energy are compared with the oracle's. Heat is the most of all seeds.",
        "",
        "| trace | fps | late % | accuracy % | of the oracle | energy | ALERT late, accuracy | tuned late, accuracy | "
        "throttled s | over target C | settles in frames | switches/min |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for trace, fps in cells(rows, table):
        here = of(rows, trace=trace, fps=fps, table=table)
        own, best, alert, tuned = (of(here, policy=p) for p in ("governor", "oracle", "alert", "alert-tuned"))
        ratio = [g["accuracy"] / o["accuracy"] for g, o in zip(own, best, strict=True)]
        energy = [g["energy_j"] / o["energy_j"] for g, o in zip(own, best, strict=True)]
        settle = [g["settle_frames"] for g in own if g["settle_frames"] is not None]
        hottest = max(g["over_target_c"] for g in own)
        other = [f"{100 * m(x, 'miss_rate'):.2f}, {100 * m(x, 'accuracy'):.2f}{_heat(x)}" for x in (alert, tuned)]
        lines.append(
            f"| {trace} | {fps} | {spread([100 * g['miss_rate'] for g in own])} | "
            f"{spread([100 * g['accuracy'] for g in own])} | {mean(ratio):.4f} | {mean(energy):.3f} | "
            f"{' | '.join(other)} | {m(own, 'throttled_s'):.0f} | {max(0.0, hottest):.2f} | "
            f"{f'{mean(settle):.1f}' if settle else '-'} | {m(own, 'switches_per_min'):.1f} |"
        )
    return "\n".join([*lines, ""])


def policies_table(rows: list[Row], table: str) -> str:
    """Every policy, means over all traces and rates."""
    lines = [
        f"### All policies, accuracies of {table}",
        "",
        "| policy | late % | accuracy % | of the oracle | throttled s | over target C s | switches/min | "
        "decision us p50, p99 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    here = of(rows, table=table)
    best = {job_of(row): row for row in of(here, policy="oracle")}
    for policy in dict.fromkeys(row["policy"] for row in here):
        own = of(here, policy=policy)
        ratio = mean(row["accuracy"] / best[job_of(row)]["accuracy"] for row in own)
        planned = policy.startswith(("oracle", "static", "fixed"))
        us = "-" if planned else f"{m(own, 'decision_us_p50'):.1f}, {max(r['decision_us_p99'] for r in own):.1f}"
        lines.append(
            f"| {policy} | {100 * m(own, 'miss_rate'):.2f} | {100 * m(own, 'accuracy'):.2f} | {ratio:.4f} | "
            f"{m(own, 'throttled_s'):.1f} | {m(own, 'over_target_c_s'):.0f} | {m(own, 'switches_per_min'):.1f} | {us} |"
        )
    return "\n".join([*lines, ""])


def goals(rows: list[Row]) -> str:
    """Each goal, the number of runs that keep it, and the worst run."""
    own = of(rows, policy="governor")
    other = {(row["policy"], *job_of(row)): row for row in rows}

    def rival(policy: str, row: Row) -> Row:
        return other[(policy, *job_of(row))]

    def ratio(row: Row) -> float:
        return float(row["accuracy"] / rival("oracle", row)["accuracy"])

    fair = [row for row in own if rival("oracle", row)["missed"] == 0]
    lines = ["### What was asked for", "", "| goal | holds in | worst |", "|---|---|---|"]

    def goal(text: str, runs: list[Row], figure: Callable[[Row], float], most: float, unit: str) -> None:
        if runs:
            figures = [figure(row) for row in runs]
            worst = max(range(len(runs)), key=figures.__getitem__)
            where = f"{runs[worst]['trace']}, {runs[worst]['fps']} fps"
            held = sum(value <= most + 1e-9 for value in figures)
            lines.append(f"| {text} | {held} of {len(runs)} runs | {figures[worst]:.2f} {unit} ({where}) |")

    for policy in ("alert", "alert-tuned"):
        goal(
            f"not more late frames than {policy}",
            own,
            lambda row, policy=policy: 100 * (row["miss_rate"] - rival(policy, row)["miss_rate"]),  # type: ignore[misc]
            0.0,
            "points more",
        )
        goal(
            f"not less accuracy than {policy}, where that keeps the goals",
            [row for row in own if _keeps(rival(policy, row))],
            lambda row, policy=policy: 100 * (rival(policy, row)["accuracy"] - row["accuracy"]),  # type: ignore[misc]
            0.0,
            "points less",
        )
    late = lambda row: 100 * float(row["miss_rate"])  # noqa: E731
    goal("at most 1 % late when quiet", of(own, trace="quiet"), late, 1.0, "%")
    goal(
        "at most 3 % late under contention, where the oracle has none",
        [r for r in fair if r["trace"] in BUSY],
        late,
        3.0,
        "%",
    )
    for what, runs in (
        ("the traces that were made", [row for row in own if row["trace"] in TRACES]),
        *((name, of(own, trace=name)) for name in sorted({row["trace"] for row in own} - set(TRACES))),
    ):
        short = [100 * (1 - ratio(row)) for row in runs]
        if short:
            held = "yes" if mean(short) <= 1.5 else "no"
            lines.append(
                f"| accuracy within 1.5 % of the oracle's on average, {what} | {held} | "
                f"mean {mean(short):.2f} %, worst {max(short):.2f} % |"
            )
    goal(
        "energy at most 3 % above the oracle's",
        own,
        lambda r: 100 * (r["energy_j"] / rival("oracle", r)["energy_j"] - 1),
        3.0,
        "%",
    )
    avoidable = [r for r in own if any(rival(f"fixed-{k}", r)["throttled_s"] == 0 for k in range(3, 13))]
    goal("no second throttled where some k avoids it", avoidable, lambda r: float(r["throttled_s"]), 0.0, "s")
    goal(f"at most {OVER_TARGET_C:g} C over the target", own, lambda r: float(r["over_target_c"]), OVER_TARGET_C, "C")
    ending = [row for row in own if row["until_h"]]
    goal(
        f"battery lasts as asked, within {100 * ENDS_EARLY:g} %",
        ending,
        lambda r: 100 * abs(r["battery_end_h"] / r["until_h"] - 1),
        100 * ENDS_EARLY,
        "%",
    )
    stepping = [row for row in own if row["settle_frames"] is not None and row["trace"] in ("square", "bursts")]
    goal("settled within 10 frames after a step in load", stepping, lambda r: float(r["settle_frames"]), 10.0, "frames")
    goal(
        "at most 6 switches a minute when quiet",
        of(own, trace="quiet"),
        lambda r: float(r["switches_per_min"]),
        6.0,
        "a minute",
    )
    goal("decisions under 50 us (p99)", own, lambda r: float(r["decision_us_p99"]), 50.0, "us")
    return "\n".join([*lines, ""])


def job_of(row: Row) -> tuple[Any, ...]:
    """The run that a row belongs to."""
    return row["trace"], row["fps"], row["table"], row["seed"]


def m(rows: list[Row], name: str) -> float:
    """The mean of a figure."""
    return mean(float(row[name]) for row in rows)


def _keeps(row: Row) -> bool:
    """Whether a run stays below the target and lasts as long as asked."""
    lasts = not row["until_h"] or row["battery_end_h"] >= (1 - ENDS_EARLY) * row["until_h"]
    return lasts and bool(row["over_target_c"] <= OVER_TARGET_C)


def _heat(rows: list[Row]) -> str:
    hottest = max(row["over_target_c"] for row in rows)
    return f", {hottest:.1f} C over" if hottest > OVER_TARGET_C else ""
