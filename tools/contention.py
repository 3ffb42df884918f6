"""Record how co-runners slow each k down on this machine: a trace for `hydrart simulate`.

    python -m tools.contention -o devices/traces/recorded.csv [--seconds 60]

The network is HydraViT-B in float32 with random weights, on all cores. Every k runs in turn, at most ten times a
second. Its calls take about as long as a frame on a small board. That matters, because an interruption weighs more in a
shorter call. The co-runners are nothing, stress-ng on a CPU, stress-ng on memory, a compiler and another hydrart, with
rests between them. A row is one round. A slow-down is over the fastest twentieth of that k's calls. The tool needs
stress-ng and a C compiler (cc).
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hydrart.bench.shapes import parse_shape, random_weights
from hydrart.model import load

_SOURCE = "#include <stdio.h>\n" + "\n".join(
    f"double f{i}(double x) {{ double s = 0; for (int j = 0; j < 99; j++) s += x * {i} / (j + 1); return s; }}"
    for i in range(4000)
)
_PERIOD_S = 0.1
_HYDRART = "import itertools, hydrart, numpy as np\nm = hydrart.load({path!r})\n"
_HYDRART += "x = np.zeros((1, 3, 224, 224), np.float32)\nfor _ in itertools.count(): m.logits(x, 6)"


def co_runners(folder: Path, weights: Path) -> dict[str, list[str]]:
    """The co-runners: name -> command that runs until it is killed."""
    (folder / "x.c").write_text(_SOURCE)
    compile_again = f"while true; do cc -O2 -c {folder}/x.c -o {folder}/x.o; done"
    return {
        "cpu": ["stress-ng", "--cpu", "1", "--quiet"],
        "memory": ["stress-ng", "--stream", "1", "--quiet"],
        "compiler": ["sh", "-c", compile_again],
        "hydrart": [sys.executable, "-c", _HYDRART.format(path=str(weights))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each co-runner; rests are half as long")
    args = parser.parse_args()
    rounds: list[tuple[float, list[float]]] = []
    with tempfile.TemporaryDirectory() as name, random_weights(parse_shape("hydravit-b")) as weights:
        model = load(weights)
        x = np.zeros((1, 3, 224, 224), np.float32)
        model.warm_up(*model.heads)
        start = time.monotonic()

        def record(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                at, row = time.monotonic() - start, []
                for k in model.heads:
                    before = time.perf_counter()
                    model.logits(x, k)
                    row.append(time.perf_counter() - before)
                rounds.append((at, row))
                time.sleep(max(at + _PERIOD_S - (time.monotonic() - start), 0))

        record(args.seconds)
        for what, command in co_runners(Path(name), weights).items():
            print(what, flush=True)
            process = subprocess.Popen(command, start_new_session=True)
            record(args.seconds)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            record(args.seconds / 2)
        heads = model.heads
    idle = np.percentile([row for _, row in rounds], 5, axis=0)
    print("fastest calls, ms:", dict(zip(heads, (1000 * idle).round(2).tolist(), strict=True)))
    with open(args.output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["t_s", *(f"slowdown_k{k}" for k in heads)])
        for at, row in rounds:
            writer.writerow([f"{at:.3f}", *(f"{value:.3f}" for value in np.array(row) / idle)])


if __name__ == "__main__":
    main()
