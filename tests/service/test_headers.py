"""What every reply carries, and HEAD."""

from __future__ import annotations

import re

import httpx
import pytest

from service.headers import SECURITY, server_timing
from service.work import Timings


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/docs", 200),
        ("GET", "/metrics", 200),
        ("GET", "/nothing", 404),
        ("GET", "/v1/embed", 405),
        ("POST", "/v1/embed", 415),
    ],
)
def test_every_reply_tells_browsers_how_to_treat_it(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    reply = client.request(method, path)
    assert reply.status_code == status
    assert {name: reply.headers.get(name) for name in SECURITY} == SECURITY
    assert "server" not in reply.headers
    assert "access-control-allow-origin" not in reply.headers


def test_how_long_the_parts_took(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={"inputs": ["a"]})
    parts = re.fullmatch(
        r"tokenize;dur=([\d.]+), queue;dur=([\d.]+), compute;dur=([\d.]+), serialize;dur=([\d.]+)",
        reply.headers["server-timing"],
    )
    assert parts
    assert all(0 < float(milliseconds) < 10_000 for milliseconds in parts.groups())
    assert "server-timing" not in client.get("/livez").headers


def test_the_form_of_the_times() -> None:
    timings = Timings(tokenize_s=0.0001, queue_s=0.02, compute_s=1.5, serialize_s=0)
    expected = "tokenize;dur=0.100, queue;dur=20.000, compute;dur=1500.000, serialize;dur=0.000"
    assert server_timing(timings) == expected


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/docs", "/openapi.json", "/metrics"])
def test_head_is_get_without_its_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # which the two requests have changed
        assert head.headers["content-length"] == get.headers["content-length"]


def test_head_of_what_get_cannot_ask(client: httpx.Client) -> None:
    assert client.head("/v1/embed").status_code == 405
    assert client.head("/nothing").status_code == 404
