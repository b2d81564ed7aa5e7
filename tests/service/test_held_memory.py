"""However a request ends, nothing that it held stays counted; and what is full says so, on every API."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.memory import Memory
from tests.service.conftest import fake_settings, serving, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend, number

LONG = "a " * 90_000
"""As JSON with all layers more than the kernel's buffers hold, with a reader that has small ones."""

EMBED = ("/v1/embed", {"inputs": ["a b c", "d"]})

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    EMBED,
    ("/v1/embed", {"inputs": ["a b"], "layer": "all", "encoding": "base64"}),
    ("/v1/embed", {"inputs": ["a b"], "pool": "sentence"}),
    ("/v1/embeddings", {"model": "fake", "input": "a b"}),
    ("/embed", {"inputs": "a b"}),
    ("/embed_all", {"inputs": "a b"}),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
    ("/v1/score", {"inputs": ["a b"]}),
    ("/v1/cloze", {"text": "a ____ b"}),
    ("/v1/cloze", {"text": "a ____ b", "candidates": ["c", "d"]}),
]


class Served:
    """A server with a model that the test controls, its client, and what its requests hold."""

    def __init__(self, runtime: FakeRuntime, client: httpx.Client, memory: Memory) -> None:
        self.runtime = runtime
        self.client = client
        self.memory = memory

    def connect(self) -> socket.socket:
        """Return a connection whose kernel takes little that is not read."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((self.client.base_url.host, self.client.base_url.port))
        return connection


@contextmanager
def served(**changes: object) -> Iterator[Served]:
    runtime = FakeRuntime()
    app = create_app(
        fake_settings(**{"queue_tokens": 1_000_000, **changes}),
        lambda folder, *_: fake_backend(folder.name, runtime),
    )
    with serving(app) as client:
        runtime.queue_depth = lambda: app.state.registry.embedder(None).queue_depth
        yield Served(runtime, client, app.state.registry.memory)
        wait_until(lambda: app.state.drain.num_in_flight == 0)
        assert app.state.registry.memory.held_bytes == 0


def send(connection: socket.socket, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)


def leave(connection: socket.socket) -> None:
    """Close the connection with a reset: what is on its way is thrown away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    ("path", "body"), REQUESTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_reply_is_reserved_before_it_is_computed_and_given_back(path: str, body: dict[str, Any]) -> None:
    with served() as server:
        server.runtime.may_run.clear()
        with server.connect() as connection:
            send(connection, path, body)
            wait_until(server.runtime.running.is_set)
            assert server.memory.held_bytes > 0
            server.runtime.may_run.set()
            assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("path", "body"), REQUESTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_room_is_429_and_room_is_enough(path: str, body: dict[str, Any]) -> None:
    with served(held_bytes=100_000) as server:
        server.memory.take(99_990, 0)  # by another request
        refused = server.client.post(path, json=body)
        assert refused.status_code == 429, refused.text
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        server.memory.give_back(99_990)
        assert server.client.post(path, json=body).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embed", {"inputs": ["a"] * 3}),
        ("/v1/embeddings", {"model": "fake", "input": ["a"] * 3}),
        ("/embed", {"inputs": ["a"] * 3}),
    ],
)
def test_what_will_never_be_taken_is_not_told_to_come_back(path: str, body: dict[str, Any]) -> None:
    with served(held_bytes=1000, max_inputs=2) as server:
        server.memory.take(1000, 0)
        assert server.client.post(path, json=body).status_code == 413
        server.memory.give_back(1000)


def test_one_that_could_never_fit_is_413() -> None:
    with served(held_bytes=1000) as server:
        reply = server.client.post("/v1/embed", json={"inputs": ["a"]})
        assert (reply.status_code, reply.json()["error"]["type"]) == (413, "reply_too_large")


def test_an_error_of_the_engine() -> None:
    with served() as server:
        server.runtime.raises_on = number("b")
        assert server.client.post("/v1/embed", json={"inputs": ["a", "b"]}).status_code == 500


def test_an_error_found_after_tokenising() -> None:
    with served() as server:
        body = {"inputs": ["a _ b"], "spans": [[[2, 3]]]}
        assert server.client.post("/v1/embed", json=body).status_code == 422


def test_an_error_while_the_reply_is_written() -> None:
    with served() as server:
        body = {"inputs": ["\U0010ffff"], "dtype": "float16", "mix": {"weights": [1, 0, 0]}}
        assert server.client.post("/v1/embed", json=body).status_code == 422


def test_a_full_queue_gives_back_what_was_reserved_before() -> None:
    with served(queue_tokens=10) as server:
        server.runtime.may_run.clear()
        with server.connect() as first, server.connect() as second:
            send(first, "/v1/embed", {"inputs": ["a"]})
            wait_until(server.runtime.running.is_set)
            only_first = server.memory.held_bytes
            send(second, "/v1/embed", {"inputs": ["a b c"]})
            wait_until(lambda: server.runtime.queue_depth() == 5)
            held_bytes = server.memory.held_bytes
            assert server.client.post("/v1/embed", json={"inputs": ["a b c d"]}).status_code == 429
            assert server.memory.held_bytes == held_bytes
            leave(second)
            wait_until(lambda: server.memory.held_bytes == only_first)
            server.runtime.may_run.set()
            assert first.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_goes_while_it_waits_or_is_computed_for() -> None:
    with served() as server:
        server.runtime.may_run.clear()
        running, waiting = server.connect(), server.connect()
        send(running, "/v1/embed", {"inputs": ["a"]})
        wait_until(server.runtime.running.is_set)
        only_running = server.memory.held_bytes
        send(waiting, "/v1/embed", {"inputs": ["b c"]})
        wait_until(lambda: server.memory.held_bytes > only_running)
        leave(waiting)
        wait_until(lambda: server.memory.held_bytes == only_running)
        leave(running)
        wait_until(lambda: server.memory.held_bytes == 0)
        server.runtime.may_run.set()


@pytest.mark.parametrize("later", [False, True], ids=["together", "later"])
def test_a_client_that_goes_with_another_request_behind_the_first(later: bool) -> None:
    with served() as server:
        server.runtime.may_run.clear()
        connection = server.connect()
        send(connection, *EMBED)
        if not later:
            send(connection, *EMBED)
        wait_until(server.runtime.running.is_set)
        if later:
            send(connection, *EMBED)
            assert server.client.get("/livez").status_code == 200  # by then the server has read it
        leave(connection)
        wait_until(lambda: server.memory.held_bytes == 0)
        server.runtime.may_run.set()


def test_a_deadline_that_passes() -> None:
    with served() as server:
        server.runtime.may_run.clear()
        headers = {"X-Request-Timeout-Ms": "50"}
        reply = server.client.post("/v1/embed", json={"inputs": ["a"]}, headers=headers)
        assert reply.status_code == 504
        wait_until(lambda: server.memory.held_bytes == 0)
        server.runtime.may_run.set()


def test_a_document_that_is_given_up_between_two_slices() -> None:
    with served(slice_tokens=2) as server:
        server.runtime.may_run.clear()
        connection = server.connect()
        send(connection, "/v1/embed", {"inputs": ["a b c d e f g h"]})
        wait_until(server.runtime.running.is_set)
        leave(connection)
        wait_until(lambda: server.memory.held_bytes == 0)
        server.runtime.may_run.set()
        assert server.client.post("/v1/embed", json={"inputs": ["b"]}).status_code == 200
        assert len(server.runtime.batches) < 4


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "leaves"])
def test_a_reply_counts_until_it_is_read(reads: bool) -> None:
    """By its own size, not by what it could have become."""
    with served() as server:
        with server.connect() as connection:
            server.runtime.may_run.clear()
            send(connection, "/v1/embed", {"inputs": [LONG], "layer": "all"})
            wait_until(server.runtime.running.is_set)
            reserved_bytes = server.memory.held_bytes
            server.runtime.may_run.set()
            received = connection.recv(4096)
            head, _, body = received.partition(b"\r\n\r\n")
            (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
            num_bytes = int(length.removeprefix(b"content-length: "))
            assert server.memory.held_bytes == num_bytes < reserved_bytes
            if reads:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
                num_read = len(body)
                while num_read < num_bytes:
                    num_read += len(connection.recv(1024 * 1024))
            else:
                leave(connection)
        wait_until(lambda: server.memory.held_bytes == 0)
