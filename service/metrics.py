"""What the server measures, for Prometheus: every name carries its unit, and no label holds a client's text.

In one process each application has metrics of its own. With several workers each process writes files in
one folder (the official client's multiprocess mode, which the parent switches on before they start), and
whichever worker is asked answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from service.engine.observer import DropCause, RestartCause
from service.errors import ErrorType
from service.exchange import Exchange

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where the workers' files are; set by their parent, read by prometheus_client when it is imported."""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SHORT_SECONDS = (0.0001, 0.00025, 0.0005, *SECONDS[:-2])
SENTENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)

# The times at which series began are twice as many series, and no use to whoever takes rates.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one application; `finished` takes in each exchange, `engine` gives what listens to one
    model's engine."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "requests", "Requests answered; 499: the client left first", "route", "method", "status"
        )
        self._request_s = self._histogram(
            "request_seconds", "From a request's headers to the end of its reply", SECONDS, "route"
        )
        self._tokenize_s = self._histogram(
            "tokenize_seconds", "Tokenising one request's inputs", SHORT_SECONDS
        )
        self._serialize_s = self._histogram("serialize_seconds", "Writing one reply's body", SHORT_SECONDS)
        self._reply_bytes = self._counter("reply_bytes", "Bytes of reply bodies", "route")
        self._refused = self._counter("refused", "Requests answered with an error, by its type", "type")
        for type in ErrorType:  # from the start: to what first appears as 1 nothing was added, says `rate`
            self._refused.labels(type.name)
        self._queue_s = self._histogram(
            "queue_seconds", "From a sentence's submission to its first run", SECONDS, "model"
        )
        self._compute_s = self._histogram(
            "compute_seconds", "One run of the network, a batch", SECONDS, "model"
        )
        self._batch_sentences = self._histogram("batch_sentences", "Sentences of a batch", SENTENCES, "model")
        self._batch_fill = self._histogram(
            "batch_fill_ratio", "Tokens of a batch among its tokens and padding", SHARES, "model"
        )
        self._tokens = self._counter("tokens", "Tokens that went through the network", "model")
        self._padded_tokens = self._counter("padded_tokens", "The same with the padding beside them", "model")
        self._cache_hits = self._counter("cache_hits", "Tokens whose vector was in the cache", "model")
        self._cache_misses = self._counter("cache_misses", "Tokens whose vector was computed", "model")
        self._dropped = self._counter("dropped", "Sentences given up before their end", "model", "cause")
        self._restarts = self._counter("engine_restarts", "Engine threads replaced", "model", "cause")
        self._queue_tokens = self._gauge(
            "queue_tokens", "Tokens that wait for the engine", "livesum", "model"
        )
        self._held_bytes = self._gauge(
            "held_bytes", "Vectors and replies of admitted requests, as much as they can become", "livesum"
        )
        self._in_flight = self._gauge(
            "requests_in_flight", "Requests that are worked on, probes not counted", "livesum"
        )
        self._fits = self._gauge("fits", "Tasks that are being learned", "livesum")
        self._resident_bytes = self._gauge("resident_bytes", "Memory of the process, all together", "livesum")
        self._ready = self._gauge("ready", "1 while every process can take work", "livemin")
        self._build = self._gauge("build_info", "1; the version that runs", "livemax", "version")
        self._model = self._gauge(
            "model_info", "1; a model that is served", "livemax", "model", "sha256", "dimension"
        )

    def describe(self, version: str, models: Sequence[tuple[str, str, int]]) -> None:
        """State what runs. models: the name, the sha256 and the dimension of each."""
        self._build.labels(version).set(1)
        for name, sha256, dimension in models:
            self._model.labels(name, sha256, str(dimension)).set(1)

    def present(
        self,
        *,
        is_ready: bool,
        in_flight: int,
        fits: int,
        held_bytes: int,
        resident_bytes: int,
        queue_tokens: Sequence[tuple[str, int]],
    ) -> None:
        """State what is true at this moment in this process. queue_tokens: of each model, by its name."""
        self._ready.set(is_ready)
        self._in_flight.set(in_flight)
        self._fits.set(fits)
        self._held_bytes.set(held_bytes)
        self._resident_bytes.set(resident_bytes)
        for name, depth in queue_tokens:
            self._queue_tokens.labels(name).set(depth)

    def finished(self, exchange: Exchange) -> None:
        """Count one request and its reply."""
        self._requests.labels(exchange.route, exchange.method, str(exchange.status)).inc()
        self._request_s.labels(exchange.route).observe(exchange.duration_s)
        self._reply_bytes.labels(exchange.route).inc(exchange.reply_bytes)
        if exchange.error_type is not None:
            self._refused.labels(exchange.error_type).inc()
        if exchange.work is not None:
            timings = exchange.work.timings
            for histogram, seconds in (
                (self._tokenize_s, timings.tokenize_s),
                (self._serialize_s, timings.serialize_s),
            ):
                if seconds:  # 0: the request did not come so far
                    histogram.observe(seconds)

    def unread(self, type: ErrorType) -> None:
        """Count a refusal of what was no request, which no layer around the routes has seen."""
        self._refused.labels(type.name).inc()

    @property
    def compute_s(self) -> float:
        """For how long this process's engines have run, all together."""
        samples = (sample for family in self._compute_s.collect() for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name.endswith("_sum"))

    def engine(self, model: str) -> EngineMetrics:
        """Return what listens to the engine of this model."""
        return EngineMetrics(self, model)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of all processes, in the form that `accept` prefers, and its media type."""
        registry = self._registry
        if folder := os.environ.get(FOLDER_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        return encoded(registry, accept)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"polyseme_{name}", f"{what}.", labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"polyseme_{name}", f"{what}.", labels, registry=self._registry, buckets=buckets)

    def _gauge(self, name: str, what: str, together: Any, *labels: str) -> Gauge:
        return Gauge(
            f"polyseme_{name}", f"{what}.", labels, registry=self._registry, multiprocess_mode=together
        )


def encoded(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return all that is registered, in the form that `accept` prefers, and its media type."""
    # Their client fails on versions that are none, and answers any other as if it knew it.
    encode, media_type = choose_encoder(OPENMETRICS if "application/openmetrics-text" in accept else "")
    return encode(registry), media_type


class EngineMetrics:
    """Listens to one model's engine (service.engine.observer.EngineObserver); called from its threads."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._queue_s = metrics._queue_s.labels(model)
        self._compute_s = metrics._compute_s.labels(model)
        self._batch_sentences = metrics._batch_sentences.labels(model)
        self._batch_fill = metrics._batch_fill.labels(model)
        self._tokens = metrics._tokens.labels(model)
        self._padded_tokens = metrics._padded_tokens.labels(model)
        self._cache_hits = metrics._cache_hits.labels(model)
        self._cache_misses = metrics._cache_misses.labels(model)
        self._dropped = {c: metrics._dropped.labels(model, c) for c in ("cancelled", "deadline")}
        self._restarts = {c: metrics._restarts.labels(model, c) for c in ("died", "hung")}

    def batch(self, num_sentences: int, num_tokens: int, num_padded_tokens: int, compute_s: float) -> None:
        self._batch_sentences.observe(num_sentences)
        self._batch_fill.observe(num_tokens / num_padded_tokens)
        self._tokens.inc(num_tokens)
        self._padded_tokens.inc(num_padded_tokens)
        self._compute_s.observe(compute_s)

    def queued(self, seconds: float) -> None:
        self._queue_s.observe(seconds)

    def dropped(self, cause: DropCause) -> None:
        self._dropped[cause].inc()

    def restarted(self, cause: RestartCause) -> None:
        self._restarts[cause].inc()

    def cache(self, hits: int, misses: int) -> None:
        self._cache_hits.inc(hits)
        self._cache_misses.inc(misses)
