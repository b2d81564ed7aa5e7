"""What every reply carries, and HEAD."""

from __future__ import annotations

import re

import httpx
import pytest

from service.headers import SECURITY, server_timing
from service.work import TIMEOUT_HEADER, Timings
from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime


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


KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("Authorization", f"Bearer {KEY}", "Bearer another"),
        ("Authorization", "Bearer another", f"Bearer {KEY}"),
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Encoding", "identity", "gzip"),
        (TIMEOUT_HEADER, "1000", "2000"),
    ],
)
def test_a_header_with_two_values_is_refused(name: str, first: str, second: str) -> None:
    """Which of two keys was checked must not depend on who reads them."""
    with serving_runtime(FakeRuntime(), api_keys=(KEY,)) as client:
        others = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        headers = [pair for pair in others.items() if pair[0] != name]
        content = b'{"inputs": ["a"]}'
        two = [*headers, (name, first), (name.lower(), second)]
        reply = client.post("/v1/embed", content=content, headers=two)
        assert reply.status_code == 400
        assert reply.json()["error"] == {
            "type": "malformed_http",
            "message": f"expected one value of the header {name}, got two",
            "where": name,
        }
        assert client.post("/v1/embeddings", headers=two).json()["error"]["code"] == "malformed_http"
        same = [*headers, (name, others.get(name, first)), (name, others.get(name, first))]
        assert client.post("/v1/embed", content=content, headers=same).status_code == 200


def test_a_list_may_be_in_several_headers(client: httpx.Client) -> None:
    accept = [("Accept", "text/csv"), ("Accept", "application/x-npz")]
    reply = client.post("/v1/embed", json={"inputs": ["a"]}, headers=accept)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-npz")
