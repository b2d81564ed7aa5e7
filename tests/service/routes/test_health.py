"""The probes, before, while and after a server can take work."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.app import create_app
from tests.service.conftest import fake_settings
from tests.service.fake_backend import open_fake


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", "alive"), ("/readyz", "ready"), ("/health", "ready")]
)
def test_a_server_that_runs(client: httpx.Client, path: str, status: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.json()) == (200, {"status": status})


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/livez", 200), ("GET", "/readyz", 503), ("GET", "/health", 503), ("POST", "/v1/embed", 503)],
)
def test_a_server_without_its_models(method: str, path: str, code: int) -> None:
    """The application's lifespan has not begun, so nothing is loaded."""
    app = create_app(fake_settings(), open_fake)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, json={"inputs": ["a"]})

    reply = asyncio.run(ask())
    assert reply.status_code == code
    if code == 503:
        assert reply.json() == {"error": {"type": "not_ready", "message": "the server is starting"}}
