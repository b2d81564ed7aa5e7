"""Servers to talk to: the real application behind a real loopback socket, with a fake model."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.server import Server, bind
from service.settings import Settings
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile, StoreTarget, postgresql
from tests.patience import PATIENCE_S
from tests.service.fake_backend import FakeRuntime, fake_backend, open_fake
from tests.service.postgresql_server import PostgreSQLServer


@contextmanager
def serving(app: FastAPI, send_buffer_bytes: int | None = None) -> Iterator[httpx.Client]:
    """Run an application on a free port and yield a client of it.

    send_buffer_bytes: of the kernel, for each connection; None for what it thinks right.
    """
    server = Server(app, app.state.registry.settings)
    listening = bind("127.0.0.1", 0)
    if send_buffer_bytes is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listening])

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it had started"
            thread.join(timeout=0.005)
        port = listening.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def fake_settings(**changes: object) -> Settings:
    """Return settings with which a test alone says when an engine hangs, not a busy machine."""
    patient = {"bundle": (Path("fake"),), "threads": 1, "stall_ms": 600_000, "hang_ms": 600_000}
    return Settings(**{**patient, **changes})  # type: ignore[arg-type]


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
    app = create_app(fake_settings(**changes), lambda folder, *_: fake_backend(folder.name, runtime))
    with serving(app) as client:
        runtime.queue_depth = lambda: app.state.registry.embedder(None).queue_depth
        yield client


def wait_until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.001)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """A running server, for all tests; each takes a place of its own in it."""
    server = PostgreSQLServer()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> StoreTarget:
    """Where an empty task store is."""
    if request.param == "sqlite":
        return SQLiteFile(tmp_path / "state" / "tasks.sqlite")
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    return postgresql(server.new_url())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoreTarget:
    """Where an empty task store is, for all tests of a module."""
    if request.param == "sqlite":
        return SQLiteFile(tmp_path_factory.mktemp("state") / "tasks.sqlite")
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    return postgresql(server.new_url())


@pytest.fixture
def store(target: StoreTarget) -> Iterator[TaskStore]:
    """An empty task store."""
    store = TaskStore(target)
    yield store
    store.close()
