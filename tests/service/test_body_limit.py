"""Bodies that are too large, whatever they declare, and bodies that do not arrive."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime

GOOD = b'{"inputs": ["a"]}'
JSON = {"Content-Type": "application/json"}
LIMIT = 100
TOO_LARGE = "expected a body of at most 100 bytes, got "


@pytest.fixture
def limited() -> Iterator[httpx.Client]:
    with serving_runtime(FakeRuntime(), max_body_bytes=LIMIT) as client:
        yield client


def chunks(total: int) -> Iterator[bytes]:
    """Send `total` bytes in pieces: httpx then declares no length."""
    text = GOOD.ljust(total)
    for start in range(0, total, 40):
        yield text[start : start + 40]


def test_a_body_at_the_limit_is_read(limited: httpx.Client) -> None:
    for content in (GOOD.ljust(LIMIT), chunks(LIMIT)):
        assert limited.post("/v1/embed", content=content, headers=JSON).status_code == 200


def test_a_body_over_the_limit(limited: httpx.Client) -> None:
    for content, came in ((GOOD.ljust(LIMIT + 1), "101 bytes"), (chunks(LIMIT + 1), "more")):
        reply = limited.post("/v1/embed", content=content, headers=JSON)
        assert reply.status_code == 413
        assert reply.json() == {"error": {"type": "body_too_large", "message": TOO_LARGE + came}}
    assert limited.post("/v1/embed", content=GOOD, headers=JSON).status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent(limited: httpx.Client) -> None:
    """Only the headers have left the client when the answer comes."""
    address = (limited.base_url.host, limited.base_url.port or 0)
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_the_body_of_an_unknown_path_is_bounded_too(limited: httpx.Client) -> None:
    assert limited.post("/nothing", content=b"x" * (LIMIT + 1)).status_code == 413


@pytest.fixture
def impatient() -> Iterator[httpx.Client]:
    with serving_runtime(FakeRuntime(), body_timeout_s=1) as client:
        yield client


def half_sent(client: httpx.Client, length: bytes) -> bytes:
    """Send the headers and half of a body; return all that comes until the server closes the connection."""
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + length + b"\r\n\r\n"
        )
        connection.sendall(GOOD[:9] if b"Length" in length else b"9\r\n" + GOOD[:9] + b"\r\n")
        reply = b""
        while part := connection.recv(65536):
            reply += part
        return reply


@pytest.mark.parametrize("length", [b"Content-Length: 17", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_in_the_middle_is_given_up(impatient: httpx.Client, length: bytes) -> None:
    started = time.monotonic()
    reply = half_sent(impatient, length)
    assert time.monotonic() - started > 0.9
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in reply
    assert reply.endswith(
        b'{"error":{"type":"body_timeout","message":"expected the whole body within 1 s, got 9 bytes of it"}}'
    )
    assert impatient.post("/v1/embed", content=GOOD, headers=JSON).status_code == 200


def test_work_that_takes_longer_than_a_body_may_is_not_cut_off() -> None:
    runtime = FakeRuntime()
    runtime.may_run.clear()
    with serving_runtime(runtime, body_timeout_s=1) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 17\r\n\r\n" + GOOD
            )
            connection.settimeout(1.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            runtime.may_run.set()
            connection.settimeout(PATIENCE_S)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
