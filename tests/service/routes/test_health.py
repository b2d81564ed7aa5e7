"""The probes, before, while and after a server can take work."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

from service.app import create_app
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, open_fake


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", "alive"), ("/readyz", "ready"), ("/health", "ready")]
)
def test_a_server_that_runs(client: httpx.Client, path: str, status: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.json()) == (200, {"status": status})


def test_an_engine_that_hangs_is_noticed_in_time_and_named(runtime: FakeRuntime) -> None:
    runtime.may_run.clear()
    with serving_runtime(runtime, stall_ms=500) as client:
        asking = threading.Thread(target=client.post, args=["/v1/embed"], kwargs={"json": {"inputs": ["a"]}})
        asking.start()
        assert runtime.running.wait(PATIENCE_S)
        hung_s = time.monotonic()
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert time.monotonic() - hung_s > 0.4
        reply = client.get("/health")
        message = 'the engine of "fake" is lost or hangs'
        assert reply.json() == {"error": {"type": "not_ready", "message": message}}
        assert client.get("/livez").status_code == 200
        runtime.may_run.set()
        wait_until(lambda: client.get("/readyz").status_code == 200)
        asking.join()


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
