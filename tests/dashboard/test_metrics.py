"""Prometheus metrics, and the health of the page."""

import json

from tests.support.dashboards import Page


def test_metrics_and_health(local: Page) -> None:
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
    assert "hydrart_temperature_celsius" not in families, "unknown is not 0"
    status, body, _ = local.ask("/healthz")
    health = json.loads(body)
    assert status == 200 and health["healthy"] and health["state"] == "running" and health["last_result_s"] < 10
