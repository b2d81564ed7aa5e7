"""What is no request in HTTP/1.1: refused as JSON, and no reply of another request is harmed."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest

from service.connections import MAX_HEAD_BYTES
from service.headers import SECURITY
from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime
from tests.service.test_metrics import value_or_0

HEAD = b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"inputs": ["a"]}'
GOOD = HEAD + b"Content-Length: 17\r\n\r\n" + BODY
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
GARBAGE = b"This is not HTTP.\r\n\r\n"

Reply = tuple[int, dict[str, str], Any]


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=PATIENCE_S)


def replies(connection: socket.socket) -> list[Reply]:
    """Return status, headers and body of all that comes until the server closes the connection."""
    parts = []
    with suppress(ConnectionResetError):  # it closed before it had read everything
        while part := connection.recv(65536):
            parts.append(part)
    told, rest = [], b"".join(parts)
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        num_bytes = int(headers["content-length"])
        told.append((int(first.split()[1]), headers, json.loads(rest[:num_bytes])))
        rest = rest[num_bytes:]
    return told


def answered(client: httpx.Client, sent: bytes) -> list[Reply]:
    with connect(client) as connection:
        connection.sendall(sent)
        return replies(connection)


@pytest.mark.parametrize(
    "sent",
    [
        GARBAGE,
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: x\n\n",
        b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\x00\r\n\r\n",
        b"GET livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 17\r\nContent-Length: 17\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    ],
)
def test_it_is_refused_as_everything_else_is(client: httpx.Client, sent: bytes) -> None:
    ((status, headers, body),) = answered(client, sent)
    assert status == 400
    assert body["error"].keys() == {"type", "message"}
    assert body["error"]["type"] == "malformed_http"
    # The rest are the parser's own words, which are fixed.
    assert re.fullmatch(r"expected a request in HTTP/1.1, but: [ -~]{5,80}", body["error"]["message"])
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert {name: headers.get(name.lower()) for name in SECURITY} == SECURITY
    assert client.get("/livez").status_code == 200


def test_it_is_counted(client: httpx.Client) -> None:
    for sent, type in (
        (GARBAGE, "malformed_http"),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, "url_too_long"),
        (LIVEZ[:-2] + b"X: a\r\n" * (MAX_HEAD_BYTES // 6), "headers_too_large"),
    ):
        series = f'polyseme_refused_total{{type="{type}"}}'
        before = value_or_0(client.get("/metrics").text, series)
        assert len(answered(client, sent)) == 1
        assert value_or_0(client.get("/metrics").text, series) == before + 1


def test_two_hosts_are_one_too_many(client: httpx.Client) -> None:
    ((status, _, body),) = answered(
        client, LIVEZ.replace(b"\r\n\r\n", b"\r\nHost: y\r\nConnection: close\r\n\r\n")
    )
    assert (status, body["error"]["where"]) == (400, "Host")


def test_too_long_a_head_says_what_of_it_is_too_long(client: httpx.Client) -> None:
    url = b"GET /" + b"a" * MAX_HEAD_BYTES
    ((status, _, body),) = answered(client, url)
    message = "expected a URL and headers of at most 65536 bytes, got a longer URL"
    assert (status, body) == (414, {"error": {"type": "url_too_long", "message": message}})
    for headers in (b"X: " + b"a" * MAX_HEAD_BYTES, b"X: a\r\n" * (MAX_HEAD_BYTES // 6 + 1)):
        ((status, _, body),) = answered(client, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + headers)
        message = "expected a URL and headers of at most 65536 bytes, got more"
        assert (status, body) == (431, {"error": {"type": "headers_too_large", "message": message}})


def test_a_long_head_that_comes_at_once_is_too_long_too(client: httpx.Client) -> None:
    for head, expected in (
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    ):
        ((status, _, _),) = answered(client, head)
        assert status == expected
    almost = b"GET /livez HTTP/1.1\r\nConnection: close\r\nX: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"
    ((status, _, _),) = answered(client, almost)
    assert status == 200


def test_empty_lines_without_end_are_no_request(client: httpx.Client) -> None:
    ((status, _, _),) = answered(client, b"\r\n" * (MAX_HEAD_BYTES // 2 + 1))
    assert status == 431


def test_requests_before_it_keep_their_replies(runtime: FakeRuntime) -> None:
    """uvicorn alone would answer the first with the refusal of the last."""
    runtime.may_run.clear()
    with serving_runtime(runtime) as client, connect(client) as connection:
        connection.sendall(GOOD + LIVEZ + GARBAGE)
        wait_until(runtime.running.is_set)
        runtime.may_run.set()
        (first, _, embedded), (second, _, alive) = replies(connection)
    assert (first, embedded["embeddings"][0]["num_tokens"]) == (200, 1)
    assert (second, alive) == (200, {"status": "alive"})


def test_after_a_reply_it_gets_its_own(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(LIVEZ)
        received = b""
        while not received.endswith(b"}"):
            received += connection.recv(65536)
        connection.sendall(GARBAGE)
        ((status, _, body),) = replies(connection)
    assert (status, body["error"]["type"]) == (400, "malformed_http")


def test_the_rest_of_a_body_that_was_refused_already_gets_no_reply(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(HEAD.replace(b"json", b"xml") + b"Transfer-Encoding: chunked\r\n\r\n")
        received = b""
        while not received.endswith(b"}}"):
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 415 ")
        connection.sendall(b"zz\r\n")
        assert replies(connection) == []
