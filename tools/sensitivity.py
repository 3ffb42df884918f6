"""Measure the effects of half and twice each parameter of the governor: docs/governor-parameters.json and .md.

    python -m tools.sensitivity                         # everything: ten minutes on one core
    python -m tools.sensitivity --trace sun --print     # that trace only, printed, nothing written
    python -m tools.sensitivity --parameter miss_price --print
    python -m tools.sensitivity --page                  # only write the page again, from what was measured
    python -m tools.sensitivity --tail                  # the index of the tail of latencies in the recorded traces

The traces are made for tuning, by tools/traces.py with another seed than those that the governor is judged on. Nothing
is timed: the same command gives the same figures on every machine.
"""

import argparse
import json
import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hydrart.lab import sensitivity
from hydrart.lab.trace import load_trace
from tools import results, sensitivity_page, traces

TRIAL_RATES = (30, 15)
TABLE = "hydravit-b"
RECORDED = ("recorded", "short")
PARAMETERS_JSON = results.ROOT / "docs/governor-parameters.json"
PARAMETERS_PAGE = results.ROOT / "docs/governor-parameters.md"


def measure(
    job: tuple[str, float, int], variants: list[tuple[str, str]], seconds: float
) -> tuple[sensitivity.Figures, list[sensitivity.Figures]]:
    """The figures of one trace, rate and seed of the luck: with the defaults, and with each variant."""
    trace, fps, seed = job
    return sensitivity.run_all(results.make_world(trace, fps, TABLE, seed, seconds), variants)


def collect(args: argparse.Namespace) -> dict[str, Any]:
    """The record of all runs: what ran, the figures with the defaults, and the change by each variant."""
    variants = [(n, f) for n, f in sensitivity.variants() if not args.parameter or n in args.parameter]
    with tempfile.TemporaryDirectory() as folder:
        traces.write(Path(folder), results.TUNING_TRACES)
        jobs = [(f"{folder}/{name}.csv", fps, seed) for name in args.trace for fps in TRIAL_RATES for seed in args.seed]
        with multiprocessing.Pool(args.processes) as pool:
            runs = list(pool.imap(partial(measure, variants=variants, seconds=args.seconds), jobs))
    base = sensitivity.mean([first for first, _ in runs])
    record: dict[str, Any] = {
        "run": {"traces": args.trace, "rates": list(TRIAL_RATES), "seeds": args.seed, "seconds": args.seconds},
        "base": vars(base),
        "changes": {},
    }
    for i, (name, factor) in enumerate(variants):
        change = sensitivity.mean([others[i] for _, others in runs]).minus(base)
        record["changes"].setdefault(name, {})[factor] = {key: round(value, 6) for key, value in vars(change).items()}
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", action="append", choices=sorted(traces.TRACES))
    parser.add_argument("--seed", action="append", type=int, help="of the luck")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--parameter", action="append", choices=sorted({name for name, _ in sensitivity.variants()}))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="print the changes; write nothing")
    parser.add_argument("--page", action="store_true", help="write the page from what was measured before")
    parser.add_argument("--tail", action="store_true", help="print Hill's index of the recorded traces' largest errors")
    args = parser.parse_args()
    if args.tail:
        for name in RECORDED:
            errors = sensitivity.latency_errors(load_trace(name), range(3, 13))
            estimates = (f"{share:.0%}: {sensitivity.hill_index(errors, share):.1f}" for share in (0.02, 0.05, 0.1))
            print(f"{name}: {', '.join(estimates)}")
        return
    if not args.page:
        whole = not (args.trace or args.seed or args.parameter)
        args.trace, args.seed = args.trace or list(traces.TRACES), args.seed or [results.TUNING_SEED]
        record = collect(args)
        if args.print or not whole:
            print(sensitivity_page.changes(record))
            return
        PARAMETERS_JSON.write_text(json.dumps(record, indent=1) + "\n")
    sensitivity_page.write(json.loads(PARAMETERS_JSON.read_text()), PARAMETERS_PAGE)


if __name__ == "__main__":
    main()
