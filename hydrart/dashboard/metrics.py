"""Collect a stream's numbers for Prometheus, on request."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

import hydrart
from hydrart.dashboard.feed import Feed
from hydrart.readings import READINGS
from hydrart.stream.events import STATES
from hydrart.stream.result import Result
from hydrart.stream.stats import STAGES

_COUNTERS = {
    "processed": ("frames", "Frames that were answered."),
    "dropped": ("dropped", "Frames that were not answered."),
    "skipped": ("skipped", "Pictures that could not be read."),
    "switches": ("switches", "Changes of k."),
}


class Metrics:
    """The metrics of a stream.

    - feed: its results and its state.
    - build: names and values that identify the program, such as its version.
    - stats: the stream's summary; None while the source opens.
    """

    def __init__(self, feed: Feed, build: Mapping[str, str]) -> None:
        self._feed, self._build = feed, build
        self.stats: Callable[[], dict[str, Any]] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. prometheus_client calls it."""
        result, state = self._feed.latest, self._feed.state.state
        yield InfoMetricFamily("hydrart_build", "What runs.", value={"version": hydrart.__version__, **self._build})
        yield GaugeMetricFamily("hydrart_answers_per_second", "Rate of the last ten seconds.", value=self._feed.rate())
        states = GaugeMetricFamily("hydrart_state", "1 for the state that the source is in.", labels=["state"])
        for name in STATES:
            states.add_metric([name], float(state == name))
        yield states
        if self.stats is not None:
            yield from _counted(self.stats())
        if result is not None:
            yield from _answered(result)


def _counted(stats: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a stream's summary."""
    for name, (key, what) in _COUNTERS.items():
        yield CounterMetricFamily(f"hydrart_{name}", what, value=stats[key])
    if stats["miss_rate"] is not None:
        late = round(stats["miss_rate"] * stats["frames"])
        yield CounterMetricFamily("hydrart_late", "Answers after their deadline.", value=late)
    latency = GaugeMetricFamily(
        "hydrart_latency_seconds", "Time that a frame takes, by stage.", labels=["stage", "quantile"]
    )
    for stage in STAGES:
        for quantile, name in (("0.5", "p50"), ("0.95", "p95")):
            if stats[stage]:
                latency.add_metric([stage.removesuffix("_ms"), quantile], stats[stage][name] / 1e3)
    yield latency


def _answered(result: Result) -> Iterator[Metric]:
    """Yield the metrics of the last answer."""
    yield GaugeMetricFamily("hydrart_heads", "k of the last answer.", value=result.prediction.k)
    label = GaugeMetricFamily("hydrart_label", "1 for the label of the last answer.", labels=["label"])
    label.add_metric([result.prediction.label], 1.0)
    yield label
    yield GaugeMetricFamily("hydrart_score", "Probability of that label, 0 to 1.", value=result.prediction.score)
    for name, reading in READINGS.items():
        if reading.metric is not None and (value := result.readings.get(name)) is not None:
            what = f"{reading.meaning[0].upper()}{reading.meaning[1:]}."
            yield GaugeMetricFamily(f"hydrart_{reading.metric}", what, value=value)
