"""The layers around the routes in their order: what only shows when several of them meet."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.headers import SECURITY
from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime

PAGE = "https://page.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[httpx.Client]:
    """A server with a key that lets one web page read its replies."""
    with serving_runtime(FakeRuntime(), cors_origins=(PAGE,), api_keys=("0123456789abcdef",)) as client:
        yield client


def test_a_browsers_first_question_needs_no_key(shared: httpx.Client) -> None:
    reply = shared.options("/v1/embed", headers=PREFLIGHT)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()
    assert reply.headers["x-request-id"]


def test_the_page_can_read_a_refusal(shared: httpx.Client) -> None:
    reply = shared.post("/v1/embed", json={"inputs": ["a"]}, headers={"Origin": PAGE})
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert reply.headers["access-control-expose-headers"] == "X-Request-Id, Retry-After, Server-Timing"
    assert {name: reply.headers.get(name) for name in SECURITY} == SECURITY


def test_another_page_cannot(shared: httpx.Client) -> None:
    other = {**PREFLIGHT, "Origin": "https://other.example"}
    assert shared.options("/v1/embed", headers=other).status_code == 400
    reply = shared.get("/livez", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in reply.headers


def test_without_the_setting_no_page_can(client: httpx.Client) -> None:
    assert client.options("/v1/embed", headers=PREFLIGHT).status_code == 405
    reply = client.get("/livez", headers={"Origin": PAGE})
    assert not any(name.startswith("access-control") for name in reply.headers)
