"""Turn the log of a real run into a world that any policy can drive again.

The log is the output of `hydrart run --json`. It does not say how long a frame would have taken with another k. So the
slow-down of a frame, its latency over the idle latency of the k that ran, counts for every k. The idle latency of a k
is the device profile's, or the fastest in the log. For a k that never ran it is interpolated linearly between those
that did. Beyond them it follows lines through 0.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.device.profiles import Device
from hydrart.errors import ProfileError
from hydrart.governor.points import Jitter, interpolate
from hydrart.lab.simulate import MOST_FRAMES, Outcome, World
from hydrart.lab.trace import Floats, Trace, bounded_lines

_NEEDED = ("t_capture", "k", "preprocess_ms", "infer_ms", "age_ms", "missed", "dropped")


@dataclass(frozen=True)
class Log:
    """The answered frames of a run, one entry each.

    - t_s: seconds since the first frame.
    - k: the k that ran. latency_ms, age_ms, missed: as in the frame's JSON line.
    - dropped: number of frames that were dropped before this one.
    - deadline_ms: nan where there was none.
    - throttled_s: seconds for which the device was throttled, as the summary has them; None where it has none.
    - weights: path of the weight file, as the head of the log names it.
    - runs: how many runs the file holds. The frames are those of the last one.
    """

    path: Path
    t_s: Floats
    k: Floats
    latency_ms: Floats
    age_ms: Floats
    missed: Floats
    dropped: Floats
    deadline_ms: Floats
    throttled_s: float | None = None
    weights: str | None = None
    runs: int = 1

    @property
    def fps(self) -> float:
        """Frames per second that came, the dropped ones included."""
        span = float(self.t_s[-1])
        return float((len(self.k) - 1 + self.dropped[1:].sum()) / span) if span > 0 else 1.0


def read_log(path: Path) -> Log:
    """Read a log. Raises ProfileError for a file that is no log of a run."""
    rows: list[list[float]] = []
    runs, ended = 1, False
    weights = throttled_s = None
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(bounded_lines(file), 1):
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    continue
                if rows and (ended or "run" in entry):  # the next run went on in the same file
                    rows, runs, ended, throttled_s = [], runs + 1, False, None
                if "frame" in entry:
                    rows.append(_row(entry, f"{path}, line {number}"))
                elif isinstance(head := entry.get("run"), dict):
                    weights = head.get("weights")
                elif isinstance(summary := entry.get("summary"), dict):
                    ended, throttled_s = True, _seconds(summary.get("throttled_s"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ProfileError(f"{path} is no log: give what `hydrart run --json` printed") from None
    if len(rows) < 2:
        raise ProfileError(f"{path} holds {len(rows)} frames: a replay needs two at least")
    table = np.array(rows, float).T
    table[0] -= table[0, 0]
    if (np.diff(table[0]) <= 0).any():
        raise ProfileError(f"{path} is not sorted by time: give the lines as they were printed")
    log = Log(path, *table)
    if log.dropped.sum() > MOST_FRAMES:
        raise ProfileError(f"{path} has {log.dropped.sum():.3g} dropped frames: a replay takes {MOST_FRAMES:,}")
    return replace(log, throttled_s=throttled_s, weights=weights if isinstance(weights, str) else None, runs=runs)


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else None


def _row(entry: Mapping[str, Any], where: str) -> list[float]:
    for key in _NEEDED:
        value = entry.get(key)
        if not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise ProfileError(f"{where}: {key} is {str(value)[:20]!r}: give what `hydrart run --json` printed")
    deadline = entry.get("deadline_ms")
    latency = entry["preprocess_ms"] + entry["infer_ms"]
    if latency <= 0 or not isinstance(entry["k"], int) or entry["k"] < 1:
        raise ProfileError(f"{where}: a frame without latency or k: give what `hydrart run --json` printed")
    known = isinstance(deadline, int | float) and 0 < deadline < 1e12
    return [
        entry["t_capture"],
        entry["k"],
        latency,
        entry["age_ms"],
        entry["missed"],
        entry["dropped"],
        float(deadline) if known and deadline is not None else np.nan,
    ]


def device_of(log: Log, device: Device, ks: tuple[int, ...]) -> Device:
    """The device with the log's idle latencies. It has no jitter of its own, because the log contains it."""
    if device.latency_ms:
        return replace(device, jitter=Jitter(0.0, 0.0, 1.0))
    fastest = {int(k): float(log.latency_ms[log.k == k].min()) for k in np.unique(log.k)}
    table: dict[int, float] = {}
    for k in ks:
        below = max(fastest) if k > max(fastest) else min(fastest)
        inside = min(fastest) <= k <= max(fastest)
        table[k] = (interpolate(fastest, k) or 0.0) if inside else fastest[below] * k / below
    return replace(device, latency_ms=table, jitter=Jitter(0.0, 0.0, 1.0))


def trace_of(log: Log, device: Device) -> Trace:
    """The slow-down and the deadline of every frame, as a trace."""
    idle = np.array([interpolate(device.latency_ms, int(k)) for k in log.k], float)
    columns = {"t_s": log.t_s, "slowdown": log.latency_ms / idle}
    deadline = np.where(np.isnan(log.deadline_ms), 1000 / log.fps, log.deadline_ms)
    return Trace(log.path.stem, columns | {"deadline_ms": deadline})


def as_it_was(log: Log, world: World) -> Outcome:
    """The outcome of the run itself. Its energy, temperature and battery are unknown.

    Raises ProfileError where the log has a k that the world lacks.
    """
    accuracy = dict(zip(world.ks, world.accuracy.tolist(), strict=True))
    if missing := sorted({int(k) for k in log.k} - set(accuracy)):
        raise ProfileError(f"{log.path} has k={missing[0]}, whose accuracy is unknown: give the network's --accuracy")
    dropped = int(log.dropped[1:].sum())
    right = np.array([accuracy[int(k)] for k in log.k]) * (log.missed == 0)
    frames = len(log.k) + dropped
    none = np.full(frames, np.nan)
    k = np.zeros(frames, np.int64)
    places = np.arange(len(log.k)) + np.cumsum([0, *log.dropped[1:]]).astype(int)
    k[places] = log.k
    missed, age = np.ones(frames, bool), none.copy()
    missed[places], age[places] = log.missed > 0, log.age_ms
    return Outcome(
        policy="as it was",
        k=k,
        age_ms=age,
        missed=missed,
        temp_c=none,
        left=none,
        accuracy=float(right.sum() / frames),
        energy_j=np.nan,
        throttled_s=np.nan if log.throttled_s is None else log.throttled_s,
        over_target_c_s=np.nan,
        over_target_c=np.nan,
        battery_end_h=None,
    )
