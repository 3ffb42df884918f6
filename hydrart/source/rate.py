"""The rate of a video, from what its container states and from the timestamps of its pictures."""

import itertools
from collections.abc import Iterable, Sequence
from statistics import median

SLOWEST_FPS, FASTEST_FPS = 0.01, 240.0  # what cameras record; beyond it a container states something else
_LONG = 2.5  # medians: a longer step between two pictures is a gap
_NEAR = 0.05  # of the measured rate: a stated rate so near is the exact one
_REORDERED = 3  # the last pictures in order of time may have neighbours that were not read yet


def is_sane(fps: float) -> bool:
    """Whether a camera may have recorded at this rate, in frames per second. False for NaN."""
    return SLOWEST_FPS <= fps <= FASTEST_FPS


def measured(times: Iterable[float]) -> float | None:
    """The rate of pictures with these timestamps, in frames per second. None where they do not say.

    times: seconds, in any order. Gaps do not count: a recording that paused is not a slow one.
    """
    ordered = sorted(set(times))
    if len(ordered) > 2 * _REORDERED:
        ordered = ordered[:-_REORDERED]
    steps = [after - before for before, after in itertools.pairwise(ordered)]
    if not steps:
        return None
    usual = [step for step in steps if step <= _LONG * median(steps)]
    return len(usual) / sum(usual)


def rate(stated: Sequence[float], times: Iterable[float]) -> float | None:
    """The rate in frames per second: the stated one that the timestamps confirm, else what the timestamps say.

    stated: what the container states, the best first. Without timestamps the first sane one counts. The result may
    be beyond what is_sane() allows: then the timestamps themselves say so.
    """
    found = measured(times)
    if found is None:
        return next(filter(is_sane, stated), None)
    return next((fps for fps in stated if abs(fps - found) <= _NEAR * found), found)
