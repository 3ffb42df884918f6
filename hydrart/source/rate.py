"""Find the rate of a video from its container and from the timestamps of its pictures."""

import itertools
from collections.abc import Iterable, Sequence
from statistics import median

SLOWEST_FPS, FASTEST_FPS = 0.01, 240.0  # the range of cameras; outside it, a container's number is no frame rate
_LONG = 2.5  # in median steps; a longer step between two pictures is a gap
_NEAR = 0.05  # as a share of the measured rate; a stated rate within it is exact
_REORDERED = 3  # the neighbours of so many last pictures may still be unread


def is_sane(fps: float) -> bool:
    """Whether a camera can record at this rate, in frames per second. False for NaN."""
    return SLOWEST_FPS <= fps <= FASTEST_FPS


def measured(times: Iterable[float]) -> float | None:
    """Measure the rate of pictures with these timestamps, in frames per second. None if it cannot be measured.

    times: seconds, in any order. Gaps do not count, because a recording may have paused.
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
    """Return the stated rate that the timestamps confirm, else the measured rate, in frames per second.

    stated: the container's rates, the best first. Without timestamps, the first sane rate counts. A measured rate may
    lie outside the range of is_sane().
    """
    found = measured(times)
    if found is None:
        return next(filter(is_sane, stated), None)
    return next((fps for fps in stated if abs(fps - found) <= _NEAR * found), found)
