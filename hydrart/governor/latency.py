"""How long each k will take: a slow-down that all share, a correction for each k, and how wrong that was so far.

Everything is in logarithms: latency_k = idle_k * exp(m + c_k + h_k * max(m, 0)) * exp(e). m, the shared slow-down,
follows the machine at once. c_k is what the table of idle latencies is wrong by, h_k how much more than others this
k suffers when the machine is busy (memory traffic hits large networks harder). e is what the prediction of the next
frame missed by: its distribution is kept as it was observed, tails included, and no shape is assumed. Steps of the
load are kept apart: how often they come, and to which slow-downs; from the top of these, none is to be feared.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from statistics import NormalDist

from hydrart.governor.points import Jitter, ProfileRow

_WINDOW = 800  # errors that the distribution is made of
_PRIOR = 50  # errors that the profile's jitter stands in for before any are observed
_GAIN = 0.15  # share of an ordinary error that moves the shared slow-down
_OUTLIER = 3.0  # scatters from which an error is a step or a tail, not noise
_SCATTER_MIN, _SCATTER_MAX = 0.02, 0.3
_LEARN, _LEARN_AT_SWITCH = 0.04, 0.5  # share of an error that goes to the corrections of this k
_REACH = (1.0, 0.5, 0.25, 0.125)  # shares of what a switch teaches of a k that it, and its neighbours, get
_FORGET_EVERY_S = 0.5
_FORGET_S = 60.0  # time constant with which corrections fade: a k that was too slow is tried again
_LEVELS = 24  # steps of the load that are remembered
_TAIL_SLOPE = 3.0  # beyond the largest error observed the distribution falls like a Pareto tail with this index


class _Sample:
    """The last `size` values, in order of time and of size."""

    def __init__(self, size: int, values: Iterable[float] = ()) -> None:
        self._recent = deque(values, maxlen=size)
        self._ordered = sorted(self._recent)

    def __len__(self) -> int:
        return len(self._ordered)

    def add(self, value: float) -> None:
        if len(self._recent) == self._recent.maxlen:
            del self._ordered[bisect_left(self._ordered, self._recent[0])]
        self._recent.append(value)
        insort(self._ordered, value)

    def replace_last(self, *values: float) -> None:
        """As many as are given, the oldest first."""
        for at, value in enumerate(values, -len(values)):
            del self._ordered[bisect_left(self._ordered, self._recent[at])]
            insort(self._ordered, value)
            self._recent[at] = value

    @property
    def smallest(self) -> float:
        return self._ordered[0]

    def above(self, value: float) -> int:
        """How many are larger."""
        return len(self._ordered) - bisect_right(self._ordered, value)

    def quantile(self, q: float) -> float:
        return self._ordered[min(len(self._ordered) - 1, int(q * len(self._ordered)))]


class LatencyModel:
    """Predicts the latency of each k, in milliseconds, from the frames observed so far."""

    def __init__(self, rows: Iterable[ProfileRow], jitter: Jitter) -> None:
        self._work = {row.k: row.work for row in rows}
        self._log_idle = {row.k: math.log(row.latency_ms) for row in rows if row.latency_ms is not None}
        self._offset = dict.fromkeys(self._work, 0.0)  # c_k
        self._slope = dict.fromkeys(self._work, 0.0)  # h_k
        self._near = {k: [(j, _REACH[abs(j - k)]) for j in self._work if abs(j - k) < len(_REACH)] for k in self._work}
        self._seen_at = dict.fromkeys(self._work, -math.inf)
        self._m = 0.0
        self._scatter = max(jitter.sigma, _SCATTER_MIN)
        self._last_k: int | None = None
        self._forgot_at = -math.inf
        self._pending: tuple[float, bool] | None = None  # the last error if it is an outlier; whether k was new
        self._odd: dict[int, float] = {}  # the last error of each k, where it was an outlier
        self._repeats, self._spikes = 0.05, 2.5  # outliers that a second followed, and all of them: decaying counts
        self._steps = 0.0  # of the frames, that a step of the load upwards came with
        self._levels = _Sample(_LEVELS)  # slow-downs after these
        self._errors = _Sample(_WINDOW, _quantiles(jitter, _PRIOR))

    @property
    def known(self) -> bool:
        """Whether there is any latency to predict from."""
        return bool(self._log_idle)

    @property
    def slowdown(self) -> float:
        """The shared factor over the idle latencies."""
        return math.exp(self._m)

    def seen_at(self, k: int) -> float:
        """When k ran last; -inf if never."""
        return self._seen_at[k]

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        """A frame took that long."""
        self._forget(now)
        log_latency = math.log(latency_ms)
        if k not in self._log_idle:
            if not self._log_idle:
                self._log_idle[k] = log_latency
            else:  # taken as free of what slows all down at the moment
                self._log_idle[k] = log_latency - self._m - self._slope[k] * max(self._m, 0.0)
            self._last_k, self._seen_at[k] = k, now
            return
        error = log_latency - self._log_idle[k] - self._expected(k)
        self._errors.add(error)
        self._steps *= 1 - 1 / _WINDOW
        self._learn(k, error, switched=k != self._last_k)
        self._last_k, self._seen_at[k] = k, now

    def expected_ms(self, k: int) -> float | None:
        """The latency to expect, None where nothing is known."""
        return math.exp(self.log_expected(k)) if self._log_idle else None

    def quantile(self, q: float) -> float:
        """The factor over the expected latency that a share q of the frames stayed below."""
        return math.exp(self._errors.quantile(q))

    @property
    def unsure(self) -> bool:
        """Whether the last frame was an outlier: the next one tells whether the load has changed."""
        return self._pending is not None

    def log_expected(self, k: int) -> float:
        return self._idle(k) + self._expected(k)

    def late(self, k: int, log_budget: float) -> float:
        """The probability that the next frame takes longer than exp(log_budget) milliseconds with k."""
        spare = log_budget - self.log_expected(k)
        if spare < 0 and spare < self._errors.smallest:
            return 1.0
        p = self._exceeds(spare)
        if self._steps:
            p += self._steps * self._step_exceeds(k, spare)
        if self._pending is not None and self._pending[0] > 0:
            # the last frame was slow: as often as such frames came in twos, the next will be as well
            again = self._exceeds(spare - self._pending[0] * self._sensitivity(k))
            p += self._repeats / self._spikes * (again - p)
        return min(p, 1.0)

    def calmed(self) -> None:
        """Other programs ran less since: forget what their load did to larger ks."""
        for k in self._offset:
            self._offset[k] = min(self._offset[k], 0.0)
            self._slope[k] *= 0.5

    def _idle(self, k: int) -> float:
        """The logarithm of the idle latency; of a k that never ran scaled by the work from the nearest that did."""
        known = self._log_idle.get(k)
        if known is not None:
            return known
        nearest = min(self._log_idle, key=lambda other: abs(other - k))
        return self._log_idle[nearest] + math.log(self._work[k] / self._work[nearest])

    def _expected(self, k: int) -> float:
        m = self._m
        return m + self._offset[k] + (self._slope[k] * m if m > 0 else 0.0)

    def _exceeds(self, error: float) -> float:
        """The share of errors above, with a Pareto tail for the one that has not come yet."""
        return (self._errors.above(error) + math.exp(-_TAIL_SLOPE * max(error, 0.0))) / (len(self._errors) + 1)

    def _step_exceeds(self, k: int, spare: float) -> float:
        """The probability that k is late after a step of the load: the share of past ones that it would be."""
        spare = max(spare, 0.0)
        above = self._levels.above(self._m + spare / (1 + self._slope[k]))
        return (above + math.exp(-_TAIL_SLOPE * spare)) / (len(self._levels) + 1)

    def _learn(self, k: int, error: float, switched: bool) -> None:
        """Noise moves the estimates smoothly; an outlier counts when the next frame says the same: the lesser of both.

        What changes with k is half k's, and to a part its neighbours'; what changes without is the load's.
        """
        pending, self._pending = self._pending, None
        before = self._odd.pop(k, 0.0)
        if abs(error) <= _OUTLIER * self._scatter:
            if pending is not None and pending[0] > 0:
                self._count(again=False)
            self._m += _GAIN * error / self._sensitivity(k)
            self._correct(k, _LEARN * error)
            scatter = self._scatter + 0.05 * (1.25 * abs(error) - self._scatter)
            self._scatter = min(max(scatter, _SCATTER_MIN), _SCATTER_MAX)
        elif pending is not None and (pending[0] > 0) == (error > 0):
            self._step(k, min(error, pending[0], key=abs), error, after_switch=pending[1] and k == self._last_k)
        elif before and (before > 0) == (error > 0):  # twice, and others ran as expected in between: it is k itself
            for other, share in self._near[k]:
                self._correct(other, share * min(error, before, key=abs))
        else:
            self._pending, self._odd[k] = (error, switched), error

    def _step(self, k: int, step: float, error: float, after_switch: bool) -> None:
        """The load has changed by `step`, or a part of it is k's, where the change came with k."""
        up = step > 0
        if up:
            self._count(again=True)
            self._steps += 1 / _WINDOW
            self._errors.replace_last(0.0, error - step)
        if after_switch:
            for other, share in self._near[k]:
                self._correct(other, share * _LEARN_AT_SWITCH * step)
            step *= 1 - _LEARN_AT_SWITCH
        self._m += step / self._sensitivity(k)
        if up:
            self._levels.add(self._m)

    def _count(self, again: bool) -> None:
        """Whether a slow frame was followed by another."""
        self._spikes = 1 + 0.95 * self._spikes
        self._repeats = again + 0.95 * self._repeats

    def _sensitivity(self, k: int) -> float:
        """By how much k's latency moves with the shared slow-down."""
        return 1 + self._slope[k] if self._m > 0 else 1.0

    def _correct(self, k: int, error: float) -> None:
        """A step of normalised least mean squares on c and h."""
        m = self._m if self._m > 0 else 0.0
        step = error / (1 + m * m)
        self._offset[k] += step
        self._slope[k] = max(-0.9, self._slope[k] + step * m)

    def _forget(self, now: float) -> None:
        """What is known of a k fades while it does not run; of the one that does, it goes over to the slow-down."""
        if now - self._forgot_at < _FORGET_EVERY_S:
            return
        kept = math.exp((self._forgot_at - now) / _FORGET_S)
        if self._last_k is not None:
            self._m += (1 - kept) * self._offset[self._last_k]
        for k in self._offset:
            self._offset[k] *= kept
            self._slope[k] *= kept
        self._forgot_at = now


def _quantiles(jitter: Jitter, n: int) -> list[float]:
    """n errors that are distributed as the profile says."""
    normal = NormalDist(0.0, max(jitter.sigma, 1e-6))
    tail = math.ceil(jitter.tail_p * n - 0.5)
    return [normal.inv_cdf((i + 0.5) / (n - tail)) for i in range(n - tail)] + [math.log(jitter.tail_x)] * tail
