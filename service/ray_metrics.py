"""/metrics on Ray Serve: whichever replica is asked answers for all, and says of each sample whose it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from service.metrics import Metrics, encoded

REPLICA = "replica"
"""The label. Without it two replicas' counters would be one series that jumps up and down."""


class OfAllReplicas:
    """In the place of one process's `Metrics`, where /metrics is answered."""

    def __init__(self, own: Metrics, pages: Callable[[], Mapping[str, str]]) -> None:
        """pages: returns each replica's own metrics, as text, by its name; not called in the event loop."""
        self._own = own
        self._pages = pages

    def present(self, **facts: Any) -> None:
        self._own.present(**facts)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """As `Metrics.exposition`, of all replicas."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Together(self._pages()))
        return encoded(registry, accept)


class _Together(Collector):
    """The metrics of several pages: a name's samples must stand together, whoever has them."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for replica, page in self._pages.items():
            for family in text_string_to_metric_families(page):
                kept = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    kept.add_sample(sample.name, {**sample.labels, REPLICA: replica}, sample.value)
        return families.values()
