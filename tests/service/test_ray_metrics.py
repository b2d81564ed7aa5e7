"""The metrics of several replicas on one page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from service.ray_metrics import OfAllReplicas
from tests.service.test_metrics import value

SHORT = 0.003  # s


def page_of(tokens: int, batches: int) -> str:
    metrics = Metrics()
    engine = metrics.engine("enko")
    for _ in range(batches):
        engine.batch(1, tokens, tokens, SHORT)
    return metrics.exposition("")[0].decode()


def test_each_sample_says_whose_it_is() -> None:
    pages = {"a": page_of(5, 2), "b": page_of(7, 1)}
    content, media_type = OfAllReplicas(Metrics(), lambda: pages).exposition("")
    assert media_type.startswith("text/plain; version=0.0.4")
    page = content.decode()
    assert value(page, 'polyseme_tokens_total{model="enko",replica="a"}') == 10
    assert value(page, 'polyseme_tokens_total{model="enko",replica="b"}') == 7
    assert value(page, 'polyseme_compute_seconds_bucket{le="0.005",model="enko",replica="a"}') == 2
    assert value(page, 'polyseme_ready{replica="b"}') == 0
    one, all_of = (list(text_string_to_metric_families(text)) for text in (pages["a"], page))
    assert [(family.name, family.type, family.documentation) for family in all_of] == [
        (family.name, family.type, family.documentation) for family in one
    ]
    assert page.count("# TYPE polyseme_tokens_total counter") == 1


def test_openmetrics_too() -> None:
    content, media_type = OfAllReplicas(Metrics(), lambda: {"a": page_of(5, 1)}).exposition(
        "application/openmetrics-text"
    )
    assert media_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
