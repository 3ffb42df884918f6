"""Prometheus metrics, and the health of the page."""

import json

import hydrart
from tests.support.dashboards import Page


def test_metrics_and_health(local: Page, model: hydrart.Model) -> None:
    status, body, headers = local.ask("/metrics")
    from prometheus_client.parser import text_string_to_metric_families

    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert families["hydrart_processed"].samples[0].value > 0 and families["hydrart_processed"].type == "counter"
    assert {sample.labels["stage"] for sample in families["hydrart_latency_seconds"].samples} == {
        "capture",
        "preprocess",
        "infer",
        "age",
    }
    states = {sample.labels["state"]: sample.value for sample in families["hydrart_state"].samples}
    assert states["running"] == 1 and sum(states.values()) == 1
    build = families["hydrart_build_info"].samples[0]
    assert build.name == "hydrart_build_info" and build.value == 1 and build.labels["version"] == hydrart.__version__
    (label,) = families["hydrart_label"].samples
    assert label.value == 1 and label.labels["label"] in model.labels
    assert 0 < families["hydrart_score"].samples[0].value <= 1
    assert 0 < families["hydrart_answers_per_second"].samples[0].value < 200
    assert "hydrart_temperature_celsius" not in families, "unknown is not 0"
    status, body, _ = local.ask("/healthz")
    health = json.loads(body)
    assert status == 200 and health["healthy"] and health["state"] == "running" and health["last_result_s"] < 10
