"""OpenTelemetry traces, when its own variables (OTEL_...) ask for them: the official packages, unchanged.

A request is one span, made by the official ASGI instrumentation; below it stand its parts, tokenize, queue,
compute and serialize, laid end to end from the durations that were measured. No span holds a client's text.

The packages are the extra `otel`. Where the variables are set and they are missing, one line in the log says
so and the server serves: such variables are often given to every program of a cluster at once, and
no measuring is worth a service that does not start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.exchange import UNMATCHED, route_of
from service.work import Work

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger("polyseme")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

UNTRACED = "/livez,/readyz,/health,/metrics"


@contextmanager
def traces(environment: Mapping[str, str]) -> Iterator[list[Middleware]]:
    """Yield the layers that trace each request: none unless the variables ask for it. At the end what has
    been measured is sent."""
    exporter = wanted_exporter(environment)
    if exporter == "none":
        yield []
        return
    try:
        processor = _processor(exporter)
    except ImportError:
        logger.warning(
            "no traces: OTEL_... variables ask for them, but OpenTelemetry's packages are not installed; "
            "pip install 'polyseme[otel]'"
        )
        yield []
        return
    if processor is None:
        logger.warning("no traces: expected OTEL_TRACES_EXPORTER otlp, console or none, got %r", exporter)
        yield []
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    # Resource.create reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which win over ours.
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "polyseme"}))
    provider.add_span_processor(processor)
    try:
        yield layers(provider)
    finally:
        provider.shutdown()


def wanted_exporter(environment: Mapping[str, str]) -> str:
    """Return where traces shall go: `otlp`, `console`, `none`, or another name, which we do not know.

    Source: OpenTelemetry's specification, "Environment Variable Specification". By it OTLP is the default;
    here it is only when there is an endpoint, because nobody listens on most machines.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    has_endpoint = any(environment.get(name) for name in ENDPOINTS)
    return environment.get("OTEL_TRACES_EXPORTER", "").strip() or ("otlp" if has_endpoint else "none")


def layers(provider: TracerProvider) -> list[Middleware]:
    """Return the layers that trace requests with this provider."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.metrics import NoOpMeterProvider

    return [
        Middleware(
            OpenTelemetryMiddleware,
            excluded_urls=UNTRACED,
            default_span_details=lambda scope: (f"{scope['method']} {UNMATCHED}", {}),
            exclude_spans=["receive", "send"],
            tracer_provider=provider,
            meter_provider=NoOpMeterProvider(),  # /metrics has them
        ),
        Middleware(Parts, provider=provider),
    ]


class Parts:
    """ASGI middleware: name the request's span for its route, and put the parts below it."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self.app = app
        self._tracer = provider.get_tracer("polyseme")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns = time.time_ns()
        is_described = False

        async def describing_send(message: Message) -> None:
            nonlocal is_described
            if message["type"] == "http.response.start":  # the span ends with the reply's last byte
                is_described = True
                self._describe(scope, started_ns)
            await send(message)

        try:
            await self.app(scope, receive, describing_send)
        finally:
            if not is_described:  # the client has gone
                self._describe(scope, started_ns)

    def _describe(self, scope: Scope, started_ns: int) -> None:
        from opentelemetry.trace import get_current_span

        span = get_current_span()
        if not span.is_recording():
            return
        route = route_of(scope)
        span.update_name(f"{scope['method']} {route}")
        attributes: dict[str, Any] = {
            "http.route": route,
            "polyseme.request_id": scope["state"]["request_id"],
        }
        work: Work | None = scope["state"].get("work")
        if work is not None:
            attributes["polyseme.num_tokens"] = work.num_tokens
            if work.model is not None:
                attributes["polyseme.model"] = work.model
            self._parts(work, started_ns)
        span.set_attributes(attributes)

    def _parts(self, work: Work, started_ns: int) -> None:
        timings = work.timings
        for name, seconds in (
            ("tokenize", timings.tokenize_s),
            ("queue", timings.queue_s),
            ("compute", timings.compute_s),
            ("serialize", timings.serialize_s),
        ):
            if seconds:
                ended_ns = started_ns + round(seconds * 1e9)
                self._tracer.start_span(name, start_time=started_ns).end(ended_ns)
                started_ns = ended_ns


def _processor(exporter: str) -> SpanProcessor | None:
    """Return what sends spans there; None when the name is unknown. Raises ImportError."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    if exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter())
    if exporter != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter())
