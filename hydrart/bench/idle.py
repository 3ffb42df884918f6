"""Measure the CPU use at a camera's frame rate, and while the program waits for the next frame."""

import time
from dataclasses import dataclass

from hydrart.bench.timing import Call


@dataclass(frozen=True)
class Idle:
    """Calls at a fixed rate.

    - rate_fps, reached_fps: the wanted and the reached rate.
    - cpu_percent: CPU time of the whole process, in percent of one core.
    - waiting_percent: CPU time between the frames, in percent of that time; None where the network was never early.
    """

    k: int
    rate_fps: float
    reached_fps: float
    cpu_percent: float
    waiting_percent: float | None


def measure(call: Call, k: int, rate: float, seconds: float) -> Idle:
    """Make `rate` calls a second for this many seconds, at least two calls. k: recorded in the result."""
    busy_before, start = time.process_time(), time.perf_counter()
    waited = waiting = 0.0
    frames, now = 0, start
    while frames < 2 or now < start + seconds:
        call()
        frames += 1
        busy, begin = time.process_time(), time.perf_counter()
        now, left = begin, start + frames / rate - begin
        if left > 0:
            time.sleep(left)
            now = time.perf_counter()
            waited += now - begin
            waiting += time.process_time() - busy
    return Idle(
        k=k,
        rate_fps=rate,
        reached_fps=frames / (now - start),
        cpu_percent=100 * (time.process_time() - busy_before) / (now - start),
        waiting_percent=100 * waiting / waited if waited > 0.01 else None,
    )
