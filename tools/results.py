"""Compare the governor with other policies on every trace: docs/governor-results.json and .md.

    python -m tools.results                 # everything: minutes
    python -m tools.results --trace sun     # only this trace again; also --seed 11, --fps 15
    python -m tools.results --tune-alert    # how alert-tuned got its constants
    python -m tools.results --prices        # what other prices of a missed frame bring, on the traces for tuning

Each trace runs for 30 minutes at 5, 15 and 30 frames a second, with the accuracies of the shipped model and of
HydraViT-B. Nothing was tuned on its seeds. The device is the (estimated) Raspberry Pi 5 in a closed passive case. In
the trace `battery` it has 3 Wh, with the charge that a k in the middle needs for half an hour.
"""

import argparse
import json
import multiprocessing
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.device.profiles import load_device
from hydrart.governor.parameters import Parameters
from hydrart.lab import policies
from hydrart.lab.accuracy import model_accuracy
from hydrart.lab.simulate import Goals, GovernorPolicy, Outcome, World, simulate
from hydrart.lab.trace import load_trace
from hydrart.resources import bundled
from tools import results_tables, traces

ROOT = Path(__file__).parents[1]
DEVICE, RUN_S = "raspberrypi5", 1800.0
RESULT_RATES = (30, 15, 5)
SEEDS = (11, 12)
TUNING_TRACES, TUNING_SEED = 101, 201  # seeds of the traces (tools/traces.py) and of the luck
TABLES = {"hydravit-cifar10": None, "hydravit-b": "hydravit-b"}
UNTIL_H, CAPACITY_WH = 0.5, 3.0
PRICES = (0.0, 0.5, 1.2, 5.0)
RESULTS_JSON, RESULTS_PAGE = ROOT / "docs/governor-results.json", ROOT / "docs/governor-results.md"


def make_world(trace: str, fps: float, table: str, seed: int, seconds: float = RUN_S) -> World:
    """The world of one row. trace: a name or a path."""
    device, accuracy, what = load_device(DEVICE), model_accuracy(TABLES[table]), load_trace(trace)
    if what.name not in traces.TRACES:  # recorded, and as long as that took
        seconds = min(seconds, float(what.columns["t_s"][-1]))
    goals, charge = Goals(fps), 1.0
    if what.name == "battery":
        device = replace(device, capacity_wh=CAPACITY_WH)
        goals = replace(goals, until_h=UNTIL_H)
        plain = World(device, what, accuracy, Goals(fps), seconds, seed)
        share = np.minimum(np.median(plain.latency_ms, axis=0) / 1000 / plain.period_s, 1.0)
        watts = plain.idle_w + (plain.power_w - plain.idle_w) * share
        fit = share < 1.0
        middle = (watts[0] + watts[fit][-1]) / 2 + float(plain.load_w.mean())
        charge = min(1.0, middle * UNTIL_H / CAPACITY_WH)
    return World(device, what, accuracy, goals, seconds, seed, charge)


def measure(job: tuple[str, float, int]) -> list[dict[str, Any]]:
    """The rows of a trace at one rate, with both tables of accuracies."""
    trace, fps, seed = job
    rows: list[dict[str, Any]] = []
    same: dict[str, Outcome] = {}
    for table in TABLES:
        world = make_world(trace, fps, table, seed)
        rows += measure_world(world, trace, table, seed, same)
    return rows


def measure_world(world: World, trace: str, table: str, seed: int, same: dict[str, Outcome]) -> list[dict[str, Any]]:
    """A row per policy. same: outcomes of policies that do not use accuracies, kept for the next table."""
    names = policies.names(world)
    blind = tuple(name for name in names if name not in ("governor", "oracle", "static-oracle", "alert", "alert-tuned"))
    if not same:
        same.update(policies.run(world, blind))
    outcomes = policies.run(world, tuple(name for name in names if name not in (*blind, "static-oracle")))
    outcomes |= {name: same[name].scored(world) for name in blind}
    outcomes["static-oracle"] = policies.best_fixed(world, [outcomes[f"fixed-{k}"] for k in world.ks])
    rows = []
    for name in names:
        outcome = outcomes[name]
        ran = outcome.k[outcome.k > 0]
        more = {"over_target_c": round(outcome.over_target_c, 3), "mean_k": round(float(ran.mean()), 3)}
        until = {"until_h": world.goals.until_h}
        where = {"trace": trace, "fps": world.goals.fps, "table": table, "seed": seed}
        rows.append(where | outcome.as_dict(world) | more | until)
    return rows


def compare_prices(processes: int) -> None:
    """Print what the governor brings with each price of a missed frame, on traces that the results do not use."""
    with tempfile.TemporaryDirectory() as folder:
        traces.write(Path(folder), TUNING_TRACES)
        jobs = [
            (f"{folder}/{name}.csv", fps, table) for name in traces.TRACES for fps in RESULT_RATES for table in TABLES
        ]
        with multiprocessing.Pool(processes) as pool:
            runs = np.array(pool.starmap(price_scores, jobs))
    for price, (late, accuracy, gap) in zip(PRICES, runs.transpose(1, 2, 0), strict=True):
        print(
            f"{price:g}: no more late frames than ALERT in {int((late <= 0).sum())} of {len(runs)} runs, no less "
            f"accuracy in {int((accuracy >= 0).sum())}, {gap.mean():.2%} below the oracle"
        )


def price_scores(trace: str, fps: float, table: str, seconds: float = 900.0) -> list[tuple[float, float, float]]:
    """For each price: late frames and accuracy less ALERT's, and the gap to the oracle."""
    world = make_world(trace, fps, table, TUNING_SEED, seconds)
    rivals = policies.run(world, ("alert", "oracle"))
    alert, oracle = rivals["alert"], rivals["oracle"]
    scores = []
    for price in PRICES:
        governor = world.governor(Parameters(miss_price=price))
        own = simulate(world, GovernorPolicy(governor), "governor")
        gap = 1 - own.accuracy / oracle.accuracy
        scores.append((own.miss_rate - alert.miss_rate, own.accuracy - alert.accuracy, gap))
    return scores


def tune_alert(processes: int) -> None:
    """Print ALERT's constants with the largest accuracy on traces and seeds that the results do not use."""
    grid = [(q0, r) for q0 in (1e-4, 1e-3, 1e-2, 3e-2, 0.1) for r in (1e-3, 1e-2, 0.1)]
    with tempfile.TemporaryDirectory() as folder:
        traces.write(Path(folder), TUNING_TRACES)
        jobs = [(folder, name, fps) for name in ("quiet", "bursts", "memory", "square") for fps in RESULT_RATES]
        with multiprocessing.Pool(processes) as pool:
            scores = np.mean(pool.starmap(_alert_scores, [(*job, grid) for job in jobs]), axis=0)
    for (q0, r), score in sorted(zip(grid, scores, strict=True), key=lambda pair: -pair[1]):
        print(f"q0={q0:g} r={r:g}: {score:.4%}")


def _alert_scores(folder: str, name: str, fps: float, grid: list[tuple[float, float]]) -> list[float]:
    world = make_world(f"{folder}/{name}.csv", fps, "hydravit-b", TUNING_SEED, 300)
    makers = [policies.Alert(world, policies.AlertConstants(q0=q0, r=r)) for q0, r in grid]
    return [simulate(world, alert, "alert").accuracy for alert in makers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", action="append", choices=sorted(bundled("devices/traces", ".csv")))
    parser.add_argument("--seed", action="append", type=int, choices=SEEDS)
    parser.add_argument("--fps", action="append", type=int, choices=RESULT_RATES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="only write the tables again, from what was measured")
    parser.add_argument("--tune-alert", action="store_true", help="print what ALERT's constants bring on other seeds")
    parser.add_argument("--prices", action="store_true", help="print what other prices of a missed frame bring")
    args = parser.parse_args()
    if args.tune_alert:
        tune_alert(args.processes)
        return
    if args.prices:
        compare_prices(args.processes)
        return
    if args.tables:
        results_tables.write(json.loads(RESULTS_JSON.read_text()), RESULTS_PAGE)
        return
    names = args.trace or list(bundled("devices/traces", ".csv"))
    rows: list[dict[str, Any]] = json.loads(RESULTS_JSON.read_text()) if RESULTS_JSON.exists() else []
    jobs = [(name, fps, seed) for fps in args.fps or RESULT_RATES for name in names for seed in args.seed or SEEDS]
    with multiprocessing.Pool(args.processes) as pool:
        for job, made in zip(jobs, pool.imap(measure, jobs), strict=True):
            rows = [row for row in rows if (row["trace"], row["fps"], row["seed"]) != job] + made
            rows.sort(key=lambda row: (row["trace"], row["fps"], row["seed"]))  # the policies keep their order
            RESULTS_JSON.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
            print("{} at {} fps, seed {}".format(*job), flush=True)
    results_tables.write(rows, RESULTS_PAGE)


if __name__ == "__main__":
    main()
