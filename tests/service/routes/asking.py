"""How the tests of a route ask it."""

from __future__ import annotations

from typing import Any

import httpx


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
