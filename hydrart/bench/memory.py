"""Measure the memory of a process that runs one k, and of one that switches k many times.

Each is a fresh process of `python -m hydrart.bench.memory`. It takes arguments and prints one JSON object.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.errors import HydrartError
from hydrart.model import Model, load

_MB = 1e6


@dataclass(frozen=True)
class FirstCall:
    """The first call of a fresh process that runs one k.

    - kernels_ms: time to load the kernels from the cache, or to compile them.
    - load_ms: time to open the weight file.
    - first_ms: time of the first call. The page cache holds the weights.
    - memory_mb: resident megabytes, less those of the same process after it ran a tiny model; None without /proc.
    - mapped_mb: resident megabytes of the mapped weights; None without /proc.
    """

    kernels_ms: float
    load_ms: float
    first_ms: float
    memory_mb: float | None
    mapped_mb: float | None


@dataclass(frozen=True)
class Growth:
    """Growth of the memory while k switches. Every k has run three times before.

    - switches: number of random switches.
    - growth_kb: growth of the resident memory, in KiB; None without /proc.
    """

    switches: int
    growth_kb: float | None


def first_call(
    weights: Path, precision: str, empty: Path, k: int, threads: int, merges: Sequence[int] = ()
) -> FirstCall:
    """Measure one k of a weight file.

    precision: of the file. empty: a tiny weight file. merges: how many tokens each block merges; () for none. Raises
    HydrartError where the process fails.
    """
    return FirstCall(**_child("first", str(weights), precision, str(empty), str(k), str(threads), json.dumps(merges)))


def growth(weights: Path, switches: int, budget_s: float) -> Growth:
    """Make this many switches of k, or as many as fit into the time. Raises HydrartError where the process fails."""
    return Growth(**_child("switch", str(weights), str(switches), str(budget_s)))


def resident() -> int | None:
    """Resident bytes of this process; None without /proc."""
    with suppress(OSError, IndexError, ValueError):
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def resident_of(path: Path) -> int | None:
    """Bytes of this file that are mapped into the process and resident; None without /proc."""
    try:
        inode, total, inside = os.stat(path).st_ino, 0, False
        for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):  # address perms offset device inode path
                inside = words[4] == str(inode)
            elif inside and words[0] == "Rss:":
                total += int(words[1]) * 1024
        return total
    except (OSError, IndexError, ValueError):
        return None


def _child(*args: str) -> dict[str, Any]:
    ended = subprocess.run([sys.executable, "-m", __name__, *args], capture_output=True, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise HydrartError(f"the process whose memory is measured failed ({said[-1][:200]}): is there enough memory?")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def _run(model: Model, k: int, merges: Sequence[int] = ()) -> None:
    size = model.architecture.image_size
    model.logits(np.zeros((1, 3, size, size), np.float32), k, merge=merges or 0)


def _first(weights: str, precision: str, empty: str, k: str, threads: str, merges: str) -> FirstCall:
    start = time.perf_counter()
    small = load(empty, threads=int(threads))
    _run(small, small.heads[0])
    kernels = time.perf_counter()
    before = resident()
    begin = time.perf_counter()
    model = load(weights, precision=precision, threads=int(threads))
    loaded = time.perf_counter()
    _run(model, int(k), json.loads(merges))
    answered = time.perf_counter()
    _run(model, int(k), json.loads(merges))
    after = resident()
    mapped = resident_of(Path(weights))
    return FirstCall(
        (kernels - start) * 1e3,
        (loaded - begin) * 1e3,
        (answered - loaded) * 1e3,
        None if before is None or after is None else (after - before) / _MB,
        None if mapped is None else mapped / _MB,
    )


def _switch(weights: str, switches: str, budget_s: str) -> Growth:
    model = load(weights, threads=1)
    rng = random.Random(0)
    for k in model.heads * 3:
        _run(model, k)
    ks, done = rng.choices(model.heads, k=1000), 0
    before, until = resident(), time.perf_counter() + float(budget_s)
    while done < int(switches) and time.perf_counter() < until:
        _run(model, ks[done % len(ks)])
        done += 1
    after = resident()
    return Growth(done, None if before is None or after is None else (after - before) / 1024)


def main(args: Sequence[str]) -> None:
    """Usage: first WEIGHTS PRECISION EMPTY K THREADS, or switch WEIGHTS SWITCHES SECONDS."""
    kind, *rest = args
    json.dump(asdict(_first(*rest) if kind == "first" else _switch(*rest)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
