"""Write the traces that ship, devices/traces/*.csv, or others like them from another seed.

    python -m tools.traces [--seed 1] [-o devices/traces]

Those recorded on a real machine come from tools/contention.py.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

TRACE_S = 1800
Rows = dict[str, list[float]]
Rng = np.random.Generator


def quiet(rng: Rng) -> Rows:
    """A machine without other programs. Its latencies rise by half a percent now and then."""
    times = np.arange(0, TRACE_S, 30.0)
    return {"t_s": list(times), "slowdown": list(1 + 0.01 * rng.random(len(times))), "ambient_c": [22.0] * len(times)}


def bursts(rng: Rng) -> Rows:
    """Another program computes for a second or more, then rests for several."""
    times, factors, t = [0.0], [1.0], 0.0
    while t < TRACE_S:
        t += 2 + rng.exponential(6)
        times.append(t)
        factors.append(rng.uniform(1.3, 2.2))
        t += 0.5 + rng.exponential(2.5)
        times.append(t)
        factors.append(1.0)
    return {"t_s": times, "slowdown": factors, "ambient_c": [22.0] * len(times)}


def memory(rng: Rng) -> Rows:
    """Memory traffic that comes and goes: the larger the network, the more it suffers."""
    times = np.arange(0, TRACE_S, 1.0)
    level, levels = 0.0, []
    goal = 0.0
    for _ in times:
        if rng.random() < 0.06:
            goal = rng.choice([0.0, 0.3, 0.6, 1.0])
        level += 0.5 * (goal - level) + 0.02 * rng.standard_normal()
        levels.append(max(level, 0.0))
    rows: Rows = {"t_s": list(times), "ambient_c": [22.0] * len(times)}
    for k in range(3, 13):
        rows[f"slowdown_k{k}"] = [1 + level * (0.25 + 0.95 * (k - 3) / 9) for level in levels]
    return rows


def square(rng: Rng) -> Rows:
    """A co-runner that takes half of the cores for a while, and is gone for as long."""
    times, factors, t, on = [], [], 0.0, False
    while t < TRACE_S:
        times.append(t)
        factors.append(1.9 if on else 1.0)
        t += 20 + rng.uniform(-2, 2)
        on = not on
    return {"t_s": times, "slowdown": factors, "ambient_c": [22.0] * len(times)}


def case(rng: Rng) -> Rows:
    """A closed case: the air inside warms up for half an hour."""
    times = np.arange(0, TRACE_S, 5.0)
    air = 24 + 24 * (1 - np.exp(-times / 600)) + rng.normal(0, 0.1, len(times)).cumsum() * 0.1
    return {"t_s": list(times), "ambient_c": list(air), "slowdown": [1.0] * len(times)}


def sun(rng: Rng) -> Rows:
    """The sun comes and goes: 17 degrees within two minutes."""
    times = np.arange(0, TRACE_S, 5.0)
    shines, air, airs, until = False, 30.0, [], 300.0
    for t in times:
        if t >= until:
            shines = not shines
            until = t + rng.uniform(240, 420)
        air += ((47.0 if shines else 30.0) - air) * (1 - np.exp(-5 / 60))
        airs.append(air + rng.normal(0, 0.1))
    return {"t_s": list(times), "ambient_c": airs, "slowdown": [1.0] * len(times)}


def battery(rng: Rng) -> Rows:
    """The wheels draw from the same battery, now more, now less."""
    times, loads, t = [], [], 0.0
    while t < TRACE_S:
        times.append(t)
        loads.append(rng.choice([0.0, 0.3, 0.8, 1.5]))
        t += 5 + rng.exponential(25)
    return {"t_s": times, "load_w": loads, "ambient_c": [22.0] * len(times), "slowdown": [1.0] * len(times)}


def flaky(rng: Rng) -> Rows:
    """Warm air, other programs, and sensors a fifth of whose readings are wrong."""
    times = np.arange(0, TRACE_S, 10.0)
    air = 40 + rng.normal(0, 0.5, len(times)).cumsum() * 0.3
    busy = rng.random(len(times)) < 0.2
    return {
        "t_s": list(times),
        "ambient_c": list(np.clip(air, 34, 46)),
        "slowdown": list(np.where(busy, 1.5, 1.0)),
        "faults": [0.2] * len(times),
    }


def rate(rng: Rng) -> Rows:
    """The deadline changes, as with another mode of the camera."""
    times, deadlines, t = [], [], 0.0
    while t < TRACE_S:
        times.append(t)
        deadlines.append(float(rng.choice([25.0, 33.3, 50.0, 66.7, 100.0, 200.0])))
        t += rng.uniform(20, 60)
    return {"t_s": times, "deadline_ms": deadlines, "ambient_c": [22.0] * len(times), "slowdown": [1.0] * len(times)}


TRACES: dict[str, Callable[[Rng], Rows]] = {
    "quiet": quiet,
    "bursts": bursts,
    "memory": memory,
    "square": square,
    "case": case,
    "sun": sun,
    "battery": battery,
    "flaky": flaky,
    "rate": rate,
}


def write(folder: Path, seed: int) -> None:
    """Write every trace of this seed, as CSV with three decimals."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, make) in enumerate(TRACES.items()):
        rows = make(np.random.default_rng([seed, number]))
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(rows)
            for row in zip(*rows.values(), strict=True):
                writer.writerow([f"{value:.3f}".rstrip("0").rstrip(".") for value in row])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[1] / "devices/traces")
    args = parser.parse_args()
    write(args.output, args.seed)


if __name__ == "__main__":
    main()
