"""How long each k will take: a slow-down that all share, a correction for each k, and how wrong that was so far.

Everything is in logarithms: latency_k = idle_k * exp(m + c_k + h_k * max(m, 0)) * exp(e). m, the shared slow-down,
follows the machine at once. c_k is what the table of idle latencies is wrong by, h_k how much more than others this
k suffers when the machine is busy (memory traffic hits large networks harder). e is what the prediction of the next
frame missed by: its distribution is kept as it was observed, tails included, and no shape is assumed.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from statistics import NormalDist

from hydrart.governor.profile import Jitter, ProfileRow

_WINDOW = 400  # errors that the distribution is made of
_PRIOR = 50  # errors that the profile's jitter stands in for before any are observed
_GAIN = 0.15  # share of an ordinary error that moves the shared slow-down
_OUTLIER = 3.0  # scatters from which an error is a step or a tail, not noise
_SCATTER_MIN, _SCATTER_MAX = 0.02, 0.3
_LEARN, _LEARN_AT_SWITCH = 0.04, 0.5  # share of an error that goes to the corrections of this k
_REACH = (1.0, 0.5, 0.25, 0.125)  # shares of what a switch teaches of a k that it, and its neighbours, get
_FORGET_EVERY_S = 0.5
_FORGET_S = 20.0  # time constant with which a k that does not run forgets that it was slower than the k that does
_TAIL_SLOPE = 3.0  # beyond the largest error observed the distribution falls like a Pareto tail with this index


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
        self._pending: float | None = None  # m as the last frame alone tells it, where that is an outlier
        self._repeats, self._spikes = 0.5, 2.0  # outliers that a second followed, and all of them: decaying counts
        self._errors = deque(_quantiles(jitter, _PRIOR), maxlen=_WINDOW)
        self._sorted = sorted(self._errors)

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
        x = log_latency - self._log_idle[k]
        error = x - self._expected(k, self._m)
        self._remember(error)
        switched = k != self._last_k
        # what changes with k is k's, what changes without is the load's
        if switched:
            for other, share in self._near[k]:
                self._correct(other, share * _LEARN_AT_SWITCH * error)
            error *= 1 - _LEARN_AT_SWITCH
        else:
            self._correct(k, _LEARN * error)
        self._follow(error, self._m + error / (1 + self._slope[k] * (self._m > 0)))
        self._last_k, self._seen_at[k] = k, now

    def expected_ms(self, k: int) -> float | None:
        """The latency to expect, None where nothing is known."""
        return math.exp(self.log_expected(k)) if self._log_idle else None

    def quantile(self, q: float) -> float:
        """The factor over the expected latency that a share q of the frames stayed below."""
        return math.exp(self._sorted[min(len(self._sorted) - 1, int(q * len(self._sorted)))])

    def log_expected(self, k: int) -> float:
        return self._idle(k) + self._expected(k, self._m)

    def late(self, k: int, log_budget: float) -> float:
        """The probability that the next frame takes longer than exp(log_budget) milliseconds with k."""
        idle = self._idle(k)
        p = self._exceeds(log_budget - idle - self._expected(k, self._m))
        if self._pending is not None and self._pending > self._m:
            # the last frame was slow: as often as such frames came in twos, the next will be as well
            again = self._exceeds(log_budget - idle - self._expected(k, self._pending))
            p += self._repeats / self._spikes * (again - p)
        return p

    def calmed(self) -> None:
        """Other programs ran less since: forget what their load did to larger ks."""
        for k in self._offset:
            self._offset[k] = min(self._offset[k], 0.0)
            self._slope[k] *= 0.5

    def _idle(self, k: int) -> float:
        """The logarithm of the idle latency; of a k that never ran scaled by the work from the nearest that did."""
        if k in self._log_idle:
            return self._log_idle[k]
        nearest = min(self._log_idle, key=lambda other: abs(other - k))
        return self._log_idle[nearest] + math.log(self._work[k] / self._work[nearest])

    def _expected(self, k: int, m: float) -> float:
        return m + self._offset[k] + (self._slope[k] * m if m > 0 else 0.0)

    def _exceeds(self, error: float) -> float:
        """The share of errors above, with a Pareto tail for the one that has not come yet."""
        n = len(self._sorted)
        above = n - bisect_right(self._sorted, error)
        return (above + math.exp(-_TAIL_SLOPE * max(error, 0.0))) / (n + 1)

    def _remember(self, error: float) -> None:
        if len(self._errors) == _WINDOW:
            del self._sorted[bisect_left(self._sorted, self._errors[0])]
        self._errors.append(error)
        insort(self._sorted, error)

    def _correct(self, k: int, error: float) -> None:
        """A step of normalised least mean squares on c and h."""
        m = self._m if self._m > 0 else 0.0
        step = error / (1 + m * m)
        self._offset[k] += step
        self._slope[k] = max(-0.9, self._slope[k] + step * m)

    def _follow(self, error: float, m: float) -> None:
        """Move the shared slow-down: smoothly within the scatter, at once when two frames in turn say the same."""
        if abs(error) <= _OUTLIER * self._scatter:
            if self._pending is not None and self._pending > self._m:
                self._spikes = 1 + 0.95 * self._spikes
                self._repeats *= 0.95
            self._pending = None
            self._m += _GAIN * (m - self._m)
            scatter = self._scatter + 0.05 * (1.25 * abs(error) - self._scatter)
            self._scatter = min(max(scatter, _SCATTER_MIN), _SCATTER_MAX)
        elif self._pending is not None and (self._pending > self._m) == (error > 0):
            if error > 0:
                self._spikes = 1 + 0.95 * self._spikes
                self._repeats = 1 + 0.95 * self._repeats
            self._m = (m + self._pending) / 2
            self._pending = None
            self._scatter = min(self._scatter * 1.2, _SCATTER_MAX)
        else:
            self._pending = m

    def _forget(self, now: float) -> None:
        """Ks that do not run become what the one that runs is: a reason to doubt them fades, so that they are tried."""
        if now - self._forgot_at < _FORGET_EVERY_S:
            return
        if self._last_k is not None:
            share = 1 - math.exp(-(now - self._forgot_at) / _FORGET_S)
            offset, slope = self._offset[self._last_k], self._slope[self._last_k]
            for k in self._offset:
                if k > self._last_k:
                    self._offset[k] -= share * max(self._offset[k] - offset, 0.0)
                    self._slope[k] -= share * max(self._slope[k] - slope, 0.0)
        self._forgot_at = now


def _quantiles(jitter: Jitter, n: int) -> list[float]:
    """n errors that are distributed as the profile says."""
    normal = NormalDist(0.0, max(jitter.sigma, 1e-6))
    tail = math.ceil(jitter.tail_p * n - 0.5)
    return [normal.inv_cdf((i + 0.5) / (n - tail)) for i in range(n - tail)] + [math.log(jitter.tail_x)] * tail
