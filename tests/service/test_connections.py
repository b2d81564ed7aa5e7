"""Clients that send nothing, send half, or read nothing; and a thousand that do what they should."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from service.app import create_app
from service.connections import MAX_HEAD_BYTES, without_upgrade
from service.server import allow_many_connections
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend, open_fake

NUM_BYTES = 64 * 1024 * 1024
"""More than the kernel's buffers of both sides hold."""


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=PATIENCE_S)


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
        assert time.monotonic() - started > 0.9


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):  # it closed before it had read everything
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("endless", [b"a" * 1024, b"a\r\nX: " * 256], ids=["one", "many"])
def test_headers_without_an_end_are_refused(runtime: FakeRuntime, endless: bytes) -> None:
    with serving_runtime(runtime) as client, connect(client) as connection:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
            while sent < NUM_BYTES:
                connection.sendall(endless)
                sent += len(endless)
        assert sent < NUM_BYTES


def test_headers_beyond_the_limit_are_told_so(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client, connect(client) as connection:
        head = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "
        connection.sendall(head + b"a" * (MAX_HEAD_BYTES + 1 - len(head)))
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 431 ")


def test_trailers_without_an_end_are_refused(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client, connect(client) as connection:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: "
            )
            while sent < NUM_BYTES:
                connection.sendall(b"a" * 1024)
                sent += 1024
        assert sent < NUM_BYTES


def test_many_requests_and_a_long_body_on_one_connection_are_no_long_head(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        for _ in range(3):
            response = client.post("/v1/embed", json={"inputs": ["a " * 90_000], "pool": "sentence"})
            assert response.status_code in (200, 413)
            assert client.get("/livez", headers={"X-Long": "a" * 30_000}).status_code == 200


def test_headers_that_trickle_do_not_gain_time(impatient: httpx.Client) -> None:
    with connect(impatient) as connection:
        started = time.monotonic()
        connection.settimeout(0.1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                assert time.monotonic() - started < PATIENCE_S
                connection.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    assert connection.recv(65536).startswith((b"HTTP/1.1 400 ", b""))
                    break


def test_an_idle_connection_is_closed_after_its_last_reply(impatient: httpx.Client) -> None:
    with connect(impatient) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = b""
        while not reply.endswith(b'{"status":"alive"}'):
            reply += connection.recv(65536)
        assert connection.recv(1) == b""
        assert time.monotonic() - started > 0.9


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


def server_holds(connection: socket.socket) -> bool:
    """Return whether the server still has its end of a client's connection."""
    ends = [f"0100007F:{end[1]:04X}" for end in (connection.getpeername(), connection.getsockname())]
    rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()]
    return [*ends, "01"] in rows  # established


def test_a_reply_that_nobody_reads_is_dropped(large: tuple[httpx.Client, FastAPI]) -> None:
    client, app = large
    with connect(client) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert app.state.drain.num_in_flight <= 1
        assert server_holds(connection)
        wait_until(lambda: not server_holds(connection))
        with contextlib.suppress(ConnectionResetError):
            read = 15
            while part := connection.recv(1024 * 1024):
                read += len(part)
            assert read < NUM_BYTES
    wait_until(lambda: app.state.drain.num_in_flight == 0)


def test_a_reader_that_is_only_slow_gets_everything(large: tuple[httpx.Client, FastAPI]) -> None:
    client, _ = large
    with connect(client) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read = 0
        for _ in range(25):
            time.sleep(0.08)  # slower than one time limit in all, much faster than it at every step
            read += len(connection.recv(1024 * 1024))
        while part := connection.recv(1024 * 1024):
            read += len(part)
    assert read > NUM_BYTES


END_BYTES = 60_000
"""Of a reply that uvicorn does not wait for, and the smallest buffers of the kernel do not hold."""


@pytest.fixture
def small_buffers() -> Iterator[httpx.Client]:
    app = create_app(fake_settings(write_timeout_s=1), open_fake)
    app.add_api_route("/end", lambda: Response(bytes(END_BYTES)))
    with serving(app, send_buffer_bytes=4096) as client:
        yield client


@contextlib.contextmanager
def asked_for_the_end(client: httpx.Client, *headers: str) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((client.base_url.host, client.base_url.port))
        lines = ["GET /end HTTP/1.1", "Host: x", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        yield connection


@pytest.mark.parametrize("headers", [[], ["Connection: close"]], ids=["keep-alive", "close"])
def test_the_end_of_a_reply_that_nobody_reads_is_dropped(
    small_buffers: httpx.Client, headers: list[str]
) -> None:
    with asked_for_the_end(small_buffers, *headers) as connection:
        connection.recv(1)
        wait_until(lambda: not server_holds(connection))
        assert 0 < len(received(connection)) < END_BYTES


def test_a_connection_whose_reply_was_read_goes_on(small_buffers: httpx.Client) -> None:
    with asked_for_the_end(small_buffers) as connection:
        started = time.monotonic()
        for _ in range(2):
            content = b""
            while len(content.partition(b"\r\n\r\n")[2]) < END_BYTES:
                part = connection.recv(65536)
                assert part, "the server closed the connection"
                content += part
            time.sleep(max(0.0, started + 1.2 - time.monotonic()))  # beyond the limit for readers
            connection.sendall(b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")


@pytest.mark.parametrize("form", ["application/json", "application/vnd.apache.arrow.stream"])
def test_a_client_that_goes_amid_its_reply_harms_nobody(form: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is reset with most of a real reply unread; a slow reader's limit is far away."""
    body = json.dumps({"inputs": ["a " * 30_000] * 8, "layer": "all"}).encode()
    settings = fake_settings(queue_tokens=1_000_000)
    app = create_app(settings, open_fake)
    with serving(app) as client:
        with connect(client) as connection:
            connection.settimeout(PATIENCE_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # Closing then resets, as a client that is killed does.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Accept: %s\r\nContent-Length: %d\r\n\r\n" % (form.encode(), len(body)) + body
            )
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            assert app.state.drain.num_in_flight == 1, "the reply is still being written"
        wait_until(lambda: app.state.drain.num_in_flight == 0)
        reply = client.post("/v1/embed", json={"inputs": ["a"]})
        assert reply.json()["embeddings"][0]["num_tokens"] == 1
        assert client.get("/readyz").status_code == 200
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_client_that_goes_amid_its_body_is_forgotten(
    runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is computed for half a body, and nobody waits for its rest."""
    app = create_app(fake_settings(), lambda folder, *_: fake_backend(folder.name, runtime))
    with serving(app) as client:
        with connect(client) as connection:
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 17\r\n\r\n{"inputs"'
            )
            wait_until(lambda: app.state.drain.num_in_flight == 1)
        wait_until(lambda: app.state.drain.num_in_flight == 0)
        assert client.post("/v1/embed", json={"inputs": ["a"]}).status_code == 200
    assert runtime.batches == [[3]]
    assert "Traceback" not in caplog.text


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
