"""Ids of requests, and what is known of an exchange when it is over."""

from __future__ import annotations

import re
import socket

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.exchange import Exchange, Exchanges
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend, open_fake


@pytest.mark.parametrize("given", ["abc-1", "a" * 128, "Root=1-67891233-abcdef012345678912345678"])
def test_a_sane_id_is_kept(client: httpx.Client, given: str) -> None:
    assert client.get("/livez", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "a" * 129, "배".encode(), '"', "a\tb"])
def test_another_is_made_when_there_is_none(client: httpx.Client, given: str | bytes | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    ids = {client.get("/livez", headers=headers).headers["x-request-id"] for _ in range(2)}  # type: ignore[arg-type]
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", id) for id in ids)


def watched(runtime: FakeRuntime) -> tuple[FastAPI, list[Exchange]]:
    """Return an application and the list of what it has answered."""
    exchanges: list[Exchange] = []
    app = create_app(fake_settings(), lambda folder, *_: fake_backend(folder.name, runtime))
    app.add_middleware(Exchanges, listeners=[exchanges.append])
    return app, exchanges


def test_what_is_known_afterwards(runtime: FakeRuntime) -> None:
    app, exchanges = watched(runtime)
    with serving(app) as client:
        good = client.post("/v1/embed", json={"inputs": ["a b"]}, headers={"X-Request-Id": "1"})
        client.post("/v1/embed?secret", content=b"secret", headers={"X-Request-Id": "2"})
        client.get("/secret", headers={"X-Request-Id": "3"})
    first, second, third = exchanges
    assert (first.request_id, first.method, first.route, first.status) == ("1", "POST", "/v1/embed", 200)
    assert (first.error_type, first.reply_bytes) == (None, len(good.content))
    assert first.work is not None
    assert (first.work.model, first.work.num_tokens) == ("fake", 4)
    assert 0 < first.work.timings.compute_s < first.duration_s < 10
    assert (second.route, second.status, second.error_type) == ("/v1/embed", 415, "unsupported_media_type")
    assert (third.route, third.status, third.error_type) == ("unmatched", 404, "not_found")
    assert "secret" not in repr(exchanges)


def test_what_was_refused_before_its_route_is_counted_under_it(runtime: FakeRuntime) -> None:
    exchanges: list[Exchange] = []
    settings = fake_settings(
        api_keys=("reader-key-0123456",), admin_keys=("admin-key-01234567",), max_body_bytes=10
    )
    app = create_app(settings, lambda folder, *_: fake_backend(folder.name, runtime))
    app.add_middleware(Exchanges, listeners=[exchanges.append])
    with serving(app) as client:
        headers = {"Authorization": "Bearer reader-key-0123456"}
        client.post("/v1/embed", json={"inputs": ["a"]})
        client.put("/v1/tasks/secret", json={}, headers=headers)
        client.post("/v1/embed", json={"inputs": ["a"]}, headers=headers)
        client.head("/v1/tasks/secret/fit")
        client.get("/secret")
        client.options("/v1/embed")
        app.state.drain.begin()
        client.get("/v1/models/secret/secret", headers=headers)
    assert [(each.status, each.error_type, each.route) for each in exchanges] == [
        (401, "unauthorized", "/v1/embed"),
        (403, "forbidden", "/v1/tasks/{name}"),
        (413, "body_too_large", "/v1/embed"),
        (401, "unauthorized", "/v1/tasks/{name}/fit"),
        (401, "unauthorized", "unmatched"),
        (401, "unauthorized", "/v1/embed"),
        (503, "not_ready", "/v1/models/{model:path}"),
    ]


def test_a_client_that_leaves_is_known_too(runtime: FakeRuntime) -> None:
    app, exchanges = watched(runtime)
    runtime.may_run.clear()
    with serving(app) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 17\r\n\r\n{"inputs": ["a"]}'
            )
            assert runtime.running.wait(PATIENCE_S)
        wait_until(lambda: len(exchanges) == 1)
        runtime.may_run.set()
    assert (exchanges[0].status, exchanges[0].reply_bytes) == (499, 0)


def test_the_route_is_the_template_and_not_the_path() -> None:
    app = create_app(fake_settings(), open_fake)
    exchanges: list[Exchange] = []
    app.add_middleware(Exchanges, listeners=[exchanges.append])

    @app.get("/of/{somebody}")
    async def of(somebody: str) -> str:
        return somebody

    with serving(app) as client:
        assert client.get("/of/secret").status_code == client.head("/of/secret").status_code == 200
    assert [(exchange.method, exchange.route) for exchange in exchanges] == [
        ("GET", "/of/{somebody}"),
        ("HEAD", "/of/{somebody}"),
    ]
