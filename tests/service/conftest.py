"""Servers to talk to: the real application behind a real loopback socket, with a fake model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.service.fake_backend import FakeRuntime, fake_backend, open_fake


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """Run an application on a free port and yield a client of it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await server.serve()

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it had started"
            thread.join(timeout=0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def fake_settings(**changes: object) -> Settings:
    return Settings(**{"bundle": (Path("fake"),), "threads": 1, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of one server, with a fake model, for all tests of a module."""
    with serving(create_app(fake_settings(), open_fake)) as client:
        yield client


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@contextmanager
def serving_runtime(runtime: FakeRuntime, **changes: object) -> Iterator[httpx.Client]:
    """Serve one fake model that the test itself controls."""
    app = create_app(fake_settings(**changes), lambda folder, _: fake_backend(folder.name, runtime))
    with serving(app) as client:
        runtime.queue_depth = lambda: app.state.registry.embedder(None).queue_depth
        yield client


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.001)
