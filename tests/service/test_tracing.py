"""Traces of real requests: in memory, and sent to a receiver as an operator's collector would be."""

from __future__ import annotations

import builtins
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from service.app import create_app
from service.tracing import layers, traces, wanted_exporter
from tests.service.conftest import fake_settings, serving
from tests.service.fake_backend import open_fake
from tests.service.processes import server_process
from tests.service.tiny_bundle import write_tiny_bundle

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def spans_of(exporter: InMemorySpanExporter, *requests: tuple[str, str, Any]) -> list[ReadableSpan]:
    """Send the requests to a traced server and return all spans, in the order in which they ended."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with serving(create_app(fake_settings(), open_fake, traces=layers(provider))) as client:
        for method, path, body in requests:
            client.request(method, path, json=body, headers={"traceparent": PARENT, "X-Request-Id": "r1"})
    return list(exporter.get_finished_spans())


def test_a_request_and_its_parts(exporter: InMemorySpanExporter) -> None:
    body = {"inputs": ["secret text"]}
    *parts, whole = spans_of(exporter, ("POST", "/v1/embed?secret=1", body))
    assert (whole.name, whole.kind) == ("POST /v1/embed", SpanKind.SERVER)
    assert whole.context is not None
    assert whole.parent is not None
    assert whole.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert whole.parent.span_id == 0xB7AD6B7169203331
    assert whole.attributes is not None
    ours = {name: value for name, value in whole.attributes.items() if name.startswith("polyseme.")}
    assert ours == {"polyseme.model": "fake", "polyseme.num_tokens": 4, "polyseme.request_id": "r1"}
    assert whole.attributes["http.route"] == "/v1/embed"
    assert [part.name for part in parts] == ["tokenize", "queue", "compute", "serialize"]
    for part in parts:
        assert part.parent is not None
        assert part.parent.span_id == whole.context.span_id
    ends = [whole.start_time, *(part.start_time for part in parts[1:]), whole.end_time]
    assert ends == sorted(ends, key=lambda time_ns: time_ns or 0)
    assert [part.end_time for part in parts[:-1]] == [part.start_time for part in parts[1:]]
    assert "secret text" not in "".join(span.to_json() for span in [*parts, whole])


def test_probes_are_not_traced_and_a_refusal_has_no_parts(exporter: InMemorySpanExporter) -> None:
    probes = [("GET", path, None) for path in ("/livez", "/readyz", "/health", "/metrics")]
    spans = spans_of(exporter, *probes, ("POST", "/v1/embed", {}), ("GET", "/secret", None))
    assert [span.name for span in spans] == ["POST /v1/embed", "GET unmatched"]


@pytest.mark.parametrize(
    ("variables", "exporter"),
    [
        ({}, "none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, "none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE"}, "none"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_SERVICE_NAME": "x"}, "none"),
    ],
)
def test_the_standard_variables(variables: dict[str, str], exporter: str) -> None:
    assert wanted_exporter(variables) == exporter


def test_without_the_packages_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(name)
        return found(name, *arguments, **more)

    found = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", missing)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        monkeypatch.delitem(sys.modules, name)
    with caplog.at_level(logging.WARNING), traces({"OTEL_TRACES_EXPORTER": "otlp"}) as nothing:
        assert nothing == []
    assert caplog.messages == [
        "no traces: OTEL_... variables ask for them, but OpenTelemetry's packages are not installed; "
        "pip install 'polyseme[otel]'"
    ]


def test_an_exporter_that_we_do_not_know(caplog: pytest.LogCaptureFixture) -> None:
    with traces({"OTEL_TRACES_EXPORTER": "zipkin"}) as nothing:
        assert nothing == []
    assert caplog.messages == ["no traces: expected OTEL_TRACES_EXPORTER otlp, console or none, got 'zipkin'"]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP receiver on a free port: its address, and what it has got."""
    received: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(self._body()))
            self.send_response(200)
            self.end_headers()

        def _body(self) -> bytes:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_collector_gets_what_a_process_has_done_when_it_ends(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]], workers: str
) -> None:
    address, received = collector
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_RESOURCE_ATTRIBUTES": "zone=z1"}
    flags = ("--bundle", bundle, "--threads", "1", "--workers", workers)
    with server_process(*flags, variables=variables) as (server, client):
        assert client.post("/v1/embed", json={"inputs": ["The bank lent him money."]}).status_code == 200
        client.close()
        server.popen.terminate()
        assert server.wait() == 0
    (resource,) = (spans for request in received for spans in request.resource_spans)
    labels = {label.key: label.value.string_value for label in resource.resource.attributes}
    assert (labels["service.name"], labels["zone"]) == ("polyseme", "z1")
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert names == {"POST /v1/embed", "tokenize", "queue", "compute", "serialize"}


def test_a_collector_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    never = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600000"}  # does it give up by itself
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **never}
    flags = ("--bundle", bundle, "--threads", "1", "--drain-s", "1")
    with server_process(*flags, variables=variables) as (server, client):
        assert client.post("/v1/embed", json={"inputs": ["The bank lent him money."]}).status_code == 200
        client.close()
        server.popen.terminate()
        assert server.wait() == 0
    assert "Traceback" not in server.log
