"""Predict how long each k will take, from the frames observed so far.

The model is latency_k = idle_k * exp(m + c_k + h_k * max(m, 0)) * exp(e). The module computes with logarithms.

- m is the slow-down that all ks share. It follows the machine at once.
- c_k corrects the idle latency of k in the table.
- h_k is the extra slow-down of k on a busy machine: memory traffic slows large networks more.
- e is the error of a prediction. Its distribution is the observed one with its tails, without an assumed shape.

Steps of the load are counted apart from these errors. The model keeps how often they come, and the slow-downs that they
lead to. At the highest of those slow-downs it expects no further step.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from statistics import NormalDist

from hydrart.governor.parameters import Parameters
from hydrart.governor.points import Jitter, OperatingPoint

_MEAN_TO_STD = math.sqrt(math.pi / 2)  # a Gaussian's standard deviation over its mean absolute value
_EVEN_ODDS = 0.5  # where either of two may be the cause, each takes half
_LEAST_SENSITIVITY = 0.1  # the least effect of the shared slow-down on a k; not 0, because errors are divided by it


class _Sample:
    """The last `size` values, kept both in order of time and sorted."""

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
        """Replace the last values by these, the oldest first."""
        for at, value in enumerate(values, -len(values)):
            del self._ordered[bisect_left(self._ordered, self._recent[at])]
            insort(self._ordered, value)
            self._recent[at] = value

    @property
    def smallest(self) -> float:
        return self._ordered[0]

    def above(self, value: float) -> int:
        """How many of the values are larger."""
        return len(self._ordered) - bisect_right(self._ordered, value)

    def quantile(self, q: float) -> float:
        return self._ordered[min(len(self._ordered) - 1, int(q * len(self._ordered)))]


class LatencyModel:
    """Predict the latency of each k, in milliseconds, from the frames observed so far."""

    def __init__(self, points: Iterable[OperatingPoint], jitter: Jitter, parameters: Parameters) -> None:
        self._p = p = parameters
        self._work = {point.k: point.work for point in points}
        self._log_idle = {point.k: math.log(point.latency_ms) for point in points if point.latency_ms is not None}
        self._offset = dict.fromkeys(self._work, 0.0)  # c_k
        self._slope = dict.fromkeys(self._work, 0.0)  # h_k
        self._near = {k: [(j, _EVEN_ODDS ** abs(j - k)) for j in self._work] for k in self._work}
        self._seen_at = dict.fromkeys(self._work, -math.inf)
        self._m = 0.0
        self._scatter = max(jitter.sigma, p.noise)
        self._outlier = p.outlier
        self._last_k: int | None = None
        self._forgot_at = -math.inf
        self._pending: tuple[float, bool] | None = None  # the last error if it was an outlier; whether k had changed
        self._odd: dict[int, float] = {}  # k -> its last error, if that was an outlier
        # decaying counts of slow frames: those that another slow frame followed, and all of them
        self._repeats, self._spikes = 0.0, 1.0  # as if one had come alone
        self._steps = 0.0  # share of the frames at which the load stepped upwards
        self._levels = _Sample(p.memory)  # the slow-downs after such steps
        self._errors = _Sample(p.window, _quantiles(jitter, p.memory))

    @property
    def known(self) -> bool:
        """Whether there is any latency to predict from."""
        return bool(self._log_idle)

    @property
    def slowdown(self) -> float:
        """The factor over the idle latencies that all ks share."""
        return math.exp(self._m)

    def seen_at(self, k: int) -> float:
        """When k ran last, in seconds on the clock of observe(); -inf if never."""
        return self._seen_at[k]

    def observe(self, now: float, k: int, latency_ms: float) -> None:
        """Learn from a frame that took latency_ms with k. now: seconds on a monotonic clock."""
        self._forget(now)
        log_latency = math.log(latency_ms)
        if k not in self._log_idle:
            if not self._log_idle:
                self._log_idle[k] = log_latency
            else:  # the load causes the present slow-down, not k
                self._log_idle[k] = log_latency - self._m - self._slope[k] * max(self._m, 0.0)
            self._last_k, self._seen_at[k] = k, now
            return
        error = log_latency - self._log_idle[k] - self._expected(k)
        self._errors.add(error)
        self._steps *= 1 - 1 / self._p.window
        self._learn(k, error, switched=k != self._last_k)
        self._last_k, self._seen_at[k] = k, now

    def expected_ms(self, k: int) -> float | None:
        """The expected latency in milliseconds; None where nothing is known."""
        return math.exp(self.log_expected(k)) if self._log_idle else None

    def quantile(self, q: float) -> float:
        """The factor over the expected latency below which a share q (0 to 1) of the frames stayed."""
        return math.exp(self._errors.quantile(q))

    @property
    def doubt(self) -> float:
        """The most by which an ordinary frame errs, as a logarithm."""
        return self._outlier * self._scatter

    @property
    def unsure(self) -> bool:
        """Whether the last frame was an outlier. The next frame shows whether the load has changed."""
        return self._pending is not None

    def log_expected(self, k: int) -> float:
        """The logarithm of the expected latency in milliseconds."""
        return self._idle(k) + self._expected(k)

    def late(self, k: int, log_budget: float) -> float:
        """The probability that the next frame takes longer than exp(log_budget) milliseconds with k."""
        return self.exceeds(k, log_budget - self.log_expected(k))

    def exceeds(self, k: int, spare: float) -> float:
        """The probability that the next frame takes exp(spare) times longer than expected with k."""
        if spare < 0 and spare < self._errors.smallest:
            return 1.0
        p = self._exceeds(spare)
        if self._steps:
            p += self._steps * self._step_exceeds(k, spare)
        if self._pending is not None and self._pending[0] > 0:
            # the last frame was slow: how often did another slow frame follow in the past?
            again = self._exceeds(spare - self._pending[0] * self._sensitivity(k))
            p += self._repeats / self._spikes * (again - p)
        return min(p, 1.0)

    def calmed(self) -> None:
        """Other programs use less than before. Forget half of the corrections that their load caused."""
        for k in self._offset:
            self._offset[k] = min(self._offset[k], 0.0)
            self._slope[k] /= 2

    def _idle(self, k: int) -> float:
        """The logarithm of the idle latency. For a k that never ran, that of the nearest k is scaled by the work."""
        known = self._log_idle.get(k)
        if known is not None:
            return known
        nearest = min(self._log_idle, key=lambda other: abs(other - k))
        return self._log_idle[nearest] + math.log(self._work[k] / self._work[nearest])

    def _expected(self, k: int) -> float:
        """The logarithm of the expected factor over the idle latency of k."""
        m = self._m
        return m + self._offset[k] + (self._slope[k] * m if m > 0 else 0.0)

    def _exceeds(self, error: float) -> float:
        """The share of errors above this one. A Pareto tail stands for one error beyond all that were observed."""
        beyond = math.exp(-self._p.tail_index * max(error, 0.0))
        return (self._errors.above(error) + beyond) / (len(self._errors) + 1)

    def _step_exceeds(self, k: int, spare: float) -> float:
        """The probability that k is late after a step of the load: its share of late frames after past steps."""
        spare = max(spare, 0.0)
        above = self._levels.above(self._m + spare / (1 + self._slope[k]))
        return (above + math.exp(-self._p.tail_index * spare)) / (len(self._levels) + 1)

    def _learn(self, k: int, error: float, switched: bool) -> None:
        """Noise moves the estimates smoothly. An outlier moves them only if the next frame is an outlier too.

        The smaller of the two outliers is the step. If it came with a change of k, the load and k with its neighbours
        share it. Any other step is the load's.
        """
        p = self._p
        pending, self._pending = self._pending, None
        before = self._odd.pop(k, 0.0)
        if abs(error) <= self._outlier * self._scatter:
            if pending is not None and pending[0] > 0:
                self._count(again=False)
            self._m += error / p.memory / self._sensitivity(k)
            self._correct(k, error / p.memory)
            scatter = self._scatter + (_MEAN_TO_STD * abs(error) - self._scatter) / p.memory
            self._scatter = max(scatter, p.noise)
        elif pending is not None and (pending[0] > 0) == (error > 0):
            self._step(k, min(error, pending[0], key=abs), error, after_switch=pending[1] and k == self._last_k)
        elif before and (before > 0) == (error > 0):  # other ks ran as expected in between: k itself is the cause
            for other, share in self._near[k]:
                self._correct(other, share * min(error, before, key=abs))
        else:
            self._pending, self._odd[k] = (error, switched), error

    def _step(self, k: int, step: float, error: float, after_switch: bool) -> None:
        """The load has changed by `step`. A part of it is due to k where the change came with k."""
        up = step > 0
        if up:
            self._count(again=True)
            self._steps += 1 / self._p.window
            self._errors.replace_last(0.0, error - step)
        if after_switch:
            for other, share in self._near[k]:
                self._correct(other, share * _EVEN_ODDS * step)
            step *= 1 - _EVEN_ODDS
        self._m += step / self._sensitivity(k)
        if up:
            self._levels.add(self._m)

    def _count(self, again: bool) -> None:
        """Count a slow frame, and whether another slow frame followed it."""
        kept = 1 - 1 / self._p.memory
        self._spikes = 1 + kept * self._spikes
        self._repeats = again + kept * self._repeats

    def _sensitivity(self, k: int) -> float:
        """The change of k's log latency over the change of the shared slow-down."""
        return 1 + self._slope[k] if self._m > 0 else 1.0

    def _correct(self, k: int, error: float) -> None:
        """One step of normalised least mean squares on c_k and h_k."""
        m = self._m if self._m > 0 else 0.0
        step = error / (1 + m * m)
        self._offset[k] += step
        self._slope[k] = max(_LEAST_SENSITIVITY - 1, self._slope[k] + step * m)

    def _forget(self, now: float) -> None:
        """Let the corrections fade. The shared slow-down takes over what the running k loses."""
        forget_s = self._p.forget_s
        if now - self._forgot_at < forget_s / 120:  # small steps suffice; every frame would cost time
            return
        kept = math.exp((self._forgot_at - now) / forget_s)
        if self._last_k is not None:
            self._m += (1 - kept) * self._offset[self._last_k]
        for k in self._offset:
            self._offset[k] *= kept
            self._slope[k] *= kept
        self._forgot_at = now


def _quantiles(jitter: Jitter, n: int) -> list[float]:
    """n errors that have the profile's distribution: the midpoints of a Gaussian's quantiles, and the tail."""
    normal = NormalDist(0.0, max(jitter.sigma, 1e-6))
    tail = math.ceil(jitter.tail_p * n - 0.5)
    return [normal.inv_cdf((i + 0.5) / (n - tail)) for i in range(n - tail)] + [math.log(jitter.tail_x)] * tail
