"""Run the governor on this machine: `hydrart run` on a looping clip while another program comes and goes.

    python -m tools.closed_loop [--seconds 20] [--threads 2] [-o DIR]

The network has HydraViT-B's shape in int8 with random weights: the times are real, the labels are not. The rate is
measured first, so that k=12 just fits on this machine. Governor, fixed k=12 and fixed k=3 run for three times the
seconds each, with stress-ng on every CPU in the middle third. It prints a table. -o keeps the logs, which
`hydrart replay` reads.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.bench.shapes import parse_shape, random_weights
from hydrart.format.precision import INT8
from hydrart.model import load
from hydrart.resources import DEMO

_PROGRAM = (sys.executable, "-c", "from hydrart.cli.main import main; main(prog_name='hydrart')")
_SPARE = 1.1  # period over the 95th percentile of k=12, so that k=12 just fits


def rate(weights: Path, threads: int) -> float:
    """Frames a second at which k=12 just fits."""
    model = load(weights, threads=threads)
    picture = np.zeros((480, 640, 3), np.uint8)
    model.warm_up(12)
    times = [model(picture, 12).latency_ms for _ in range(40)]
    return 1000 / (_SPARE * float(np.percentile(times, 95)))


def run(weights: Path, fps: float, seconds: float, threads: int, options: list[str]) -> list[dict[str, Any]]:
    """The JSON lines of a run. Each gets a `phase`: before, during or after."""
    command = [*_PROGRAM, "run", "--source", str(DEMO), "--loop", "--frames", "latest", "--fps", f"{fps:.3f}"]
    command += [
        "--weights",
        str(weights),
        "--threads",
        str(threads),
        "--json",
        "--duration",
        str(3 * seconds),
        *options,
    ]
    lines: list[dict[str, Any]] = []
    load_on: subprocess.Popen[bytes] | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        start = None
        for line in process.stdout:
            entry = json.loads(line)
            if "frame" not in entry:
                continue
            now = time.monotonic()
            start = start or now
            phase = min(int((now - start) / seconds), 2)
            if phase == 1 and load_on is None:
                load_on = subprocess.Popen(["stress-ng", "--cpu", "0", "--quiet"], start_new_session=True)
            if phase == 2 and load_on is not None and load_on.poll() is None:
                os.killpg(load_on.pid, signal.SIGKILL)
                load_on.wait()
            lines.append(entry | {"phase": ("before", "during", "after")[phase], "at": now - start})
    if load_on is not None and load_on.poll() is None:
        os.killpg(load_on.pid, signal.SIGKILL)
        load_on.wait()
    return lines


def row(name: str, lines: list[dict[str, Any]], seconds: float) -> str:
    """A line of the table: the late or dropped frames and the mean k of each phase."""
    cells = [name]
    for phase in ("before", "during", "after"):
        frames = [line for line in lines if line["phase"] == phase]
        dropped = sum(line["dropped"] for line in frames)
        late = sum(line["missed"] for line in frames) + dropped
        share = 100 * late / max(1, len(frames) + dropped)
        cells.append(f"{share:.1f} %, k {np.mean([line['k'] for line in frames]):.1f}" if frames else "-")
    usual = np.median([line["k"] for line in lines if line["phase"] == "before"])
    back = [line["at"] - 2 * seconds for line in lines if line["phase"] == "after" and line["k"] >= usual - 1]
    cells.append(f"{back[0]:.1f} s" if back else "-")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    with random_weights(parse_shape("hydravit-b"), INT8.name) as weights:
        fps = rate(weights, args.threads)
        print(f"{fps:.2f} fps, {args.threads} threads, {args.seconds:g} s each\n")
        print("| late or dropped, mean k | before | during | after | back within 1 of the usual k |")
        print("|---|---|---|---|---|")
        for name, options in {"governor": [], "k=12": ["--k", "12"], "k=3": ["--k", "3"]}.items():
            lines = run(weights, fps, args.seconds, args.threads, options)
            print(row(name, lines, args.seconds), flush=True)
            if args.output is not None:
                args.output.mkdir(parents=True, exist_ok=True)
                kept = [{key: value for key, value in line.items() if key not in ("phase", "at")} for line in lines]
                text = "\n".join(map(json.dumps, kept))
                (args.output / f"{name}.jsonl").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
