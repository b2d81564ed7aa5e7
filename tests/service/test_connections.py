"""Clients that send nothing, send half, or read nothing; and a thousand that do what they should."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from service.app import create_app
from service.connections import without_upgrade
from service.server import allow_many_connections
from tests.service.conftest import fake_settings, serving, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, open_fake

NUM_BYTES = 64 * 1024 * 1024
"""More than the kernel's buffers of both sides hold."""


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)


@pytest.fixture(scope="module")
def impatient() -> Iterator[httpx.Client]:
    with serving_runtime(FakeRuntime(), keep_alive_s=1) as client:
        yield client


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_never_begins_is_not_waited_for(impatient: httpx.Client, sent: bytes) -> None:
    with connect(impatient) as connection:
        started = time.monotonic()
        connection.sendall(sent)
        assert connection.recv(1) == b""
        assert 0.9 < time.monotonic() - started < 5


def test_headers_that_trickle_do_not_gain_time(impatient: httpx.Client) -> None:
    with connect(impatient) as connection:
        started = time.monotonic()
        connection.settimeout(0.1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started < 5:
                connection.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    assert connection.recv(65536).startswith((b"HTTP/1.1 400 ", b""))
                    break
        assert time.monotonic() - started < 3


def test_an_idle_connection_is_closed_after_its_last_reply(impatient: httpx.Client) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = b""
        while not reply.endswith(b'{"status":"alive"}'):
            reply += connection.recv(65536)
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.8 < time.monotonic() - started < 5


def test_a_slow_answer_is_no_idle_connection(runtime: FakeRuntime) -> None:
    runtime.may_run.clear()
    with serving_runtime(runtime, keep_alive_s=1) as client:
        timer = threading.Timer(1.5, runtime.may_run.set)
        timer.start()
        assert client.post("/v1/embed", json={"inputs": ["a"]}).status_code == 200
        timer.join()


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\n",
    ],
)
def test_an_offer_of_another_protocol_is_ignored(
    client: httpx.Client, offer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Java's own HTTP client makes one with the first request of every connection."""
    body = rb'{"inputs": ["\nUpgrade:"]}'
    with connect(client) as connection:
        for _ in range(2):
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n%s\r\n%s" % (len(body), offer, body)
            )
            reply = b""
            while not reply.endswith(b"]}]}"):
                reply += connection.recv(65536)
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert rb"\nUpgrade:" in reply
    assert "upgrade" not in caplog.text.lower()


def test_only_the_header_changes() -> None:
    sent = b"GET /upgrade: HTTP/1.1\r\nX-Upgrade: 1\r\nUPGRADE: h2c\r\n\r\n\r\nupgrade: body"
    assert without_upgrade(sent) == sent.replace(b"UPGRADE", b"x-grade")


@pytest.fixture(params=["whole", "streamed"])
def large(request: pytest.FixtureRequest) -> Iterator[tuple[httpx.Client, FastAPI]]:
    """A server whose clients must read, with a large reply, written at once or in parts."""
    app = create_app(fake_settings(write_timeout_s=1), open_fake)

    @app.get("/large")
    async def large() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            num_bytes = NUM_BYTES if request.param == "whole" else 1024 * 1024
            for _ in range(NUM_BYTES // num_bytes):
                yield b"x" * num_bytes

        return StreamingResponse(parts(), headers={"Content-Length": str(NUM_BYTES)})

    with serving(app) as client:
        yield client, app


def test_a_reply_that_nobody_reads_is_dropped(large: tuple[httpx.Client, FastAPI]) -> None:
    client, app = large
    with connect(client) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert app.state.drain.num_in_flight <= 1
        with contextlib.suppress(ConnectionResetError):
            time.sleep(2.5)  # the reader's own slowness, which the test is about
            read = 15
            while part := connection.recv(1024 * 1024):
                read += len(part)
            assert read < NUM_BYTES
        assert time.monotonic() - started < 20
    wait_until(lambda: app.state.drain.num_in_flight == 0)


def test_a_reader_that_is_only_slow_gets_everything(large: tuple[httpx.Client, FastAPI]) -> None:
    client, _ = large
    with connect(client) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read = 0
        for _ in range(3):
            time.sleep(0.7)  # slower than one time limit in all, faster than it at every step
            for _ in range(8):
                read += len(connection.recv(1024 * 1024))
        while part := connection.recv(1024 * 1024):
            read += len(part)
    assert read > NUM_BYTES


def test_a_thousand_connections(runtime: FakeRuntime) -> None:
    allow_many_connections()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 65_536) >= 2200, "both ends of every connection are in this process"
    num_waiting = itertools.count(1)

    async def ask(client: httpx.Client, i: int) -> tuple[bytes, dict[str, Any]]:
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        body = b'{"inputs": ["a%d"]}' % i
        writer.write(
            b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        if next(num_waiting) == 1000:
            runtime.may_run.set()  # only now that all are open
        reply = await reader.read()
        writer.close()
        await writer.wait_closed()
        headers, _, content = reply.partition(b"\r\n\r\n")
        return headers.partition(b"\r\n")[0], json.loads(content)

    async def ask_all(client: httpx.Client) -> list[tuple[bytes, dict[str, Any]]]:
        return await asyncio.gather(*(ask(client, i) for i in range(1000)))

    runtime.may_run.clear()
    with serving_runtime(runtime) as client:
        replies = asyncio.run(ask_all(client))
    for i, (status, reply) in enumerate(replies):
        assert status == b"HTTP/1.1 200 OK"
        assert reply["embeddings"][0]["tokens"][0]["text"] == f"a{i}"
