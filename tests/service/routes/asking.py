"""How the tests of a route ask it."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx

from tests.patience import PATIENCE_S


def embed(client: httpx.Client, *inputs: object, **fields: object) -> Any:
    reply = client.post("/v1/embed", json={"inputs": inputs, **fields})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def refused(client: httpx.Client, *inputs: object, **fields: object) -> tuple[int, Any]:
    reply = client.post("/v1/embed", json={"inputs": inputs, **fields})
    return reply.status_code, reply.json()["error"]


def ask(client: httpx.Client, path: str, **fields: object) -> Any:
    reply = client.post(path, json=fields)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def hanging_up(client: httpx.Client, text: str) -> socket.socket:
    """Send a request, and return its connection to be closed."""
    address = (client.base_url.host, client.base_url.port or 80)
    connection = socket.create_connection(address, timeout=PATIENCE_S)
    body = json.dumps({"inputs": [text]}).encode()
    head = (
        f"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection
