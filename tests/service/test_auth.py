"""Keys and what they allow, asked for over HTTP."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterator

import httpx
import pytest

from service.auth import Access, needed
from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime

READER, OTHER, ADMIN = "reader-key-0123456", "second-key-0123456", "admin-key-01234567"
BODY = {"inputs": ["a"]}


@pytest.fixture(scope="module")
def locked() -> Iterator[httpx.Client]:
    with serving_runtime(FakeRuntime(), api_keys=(READER, OTHER), admin_keys=(ADMIN,)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [READER, OTHER, ADMIN])
def test_every_key_may_read(locked: httpx.Client, key: str) -> None:
    assert locked.post("/v1/embed", json=BODY, headers=bearer(key)).status_code == 200
    for path in ("/metrics", "/docs", "/openapi.json"):
        assert locked.get(path, headers=bearer(key)).status_code == 200


def test_the_scheme_may_be_in_small_letters(locked: httpx.Client) -> None:
    assert (
        locked.post("/v1/embed", json=BODY, headers={"Authorization": f"bearer  {READER}"}).status_code == 200
    )


@pytest.mark.parametrize(
    ("headers", "came", "challenge"),
    [
        ({}, "no such header", 'Bearer realm="polyseme"'),
        ({"Authorization": "Basic dTpw"}, "another scheme", 'Bearer realm="polyseme"'),
        (
            {"Authorization": "Bearer"},
            "one that the server does not know",
            'Bearer realm="polyseme", error="invalid_token"',
        ),
        (bearer(READER[:-1]), "one that the server does not know", None),
        (bearer(READER + "0"), "one that the server does not know", None),
        (bearer(READER.upper()), "one that the server does not know", None),
        (bearer("ÿ" * 18), "one that the server does not know", None),
    ],
)
def test_who_has_none_is_told_so(
    locked: httpx.Client, headers: dict[str, str], came: str, challenge: str | None
) -> None:
    encoded = httpx.Headers(headers, encoding="latin-1")
    for method, path in (("POST", "/v1/embed"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/nothing")):
        reply = locked.request(method, path, headers=encoded)
        assert reply.status_code == 401
        message = f"expected a key in the header Authorization: Bearer KEY, got {came}"
        assert reply.json() == {"error": {"type": "unauthorized", "message": message}}
        if challenge:
            assert reply.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_probes_need_no_key(locked: httpx.Client, path: str) -> None:
    assert locked.get(path).status_code == 200
    assert locked.head(path).status_code == 200


def test_changes_need_an_admin_key(locked: httpx.Client) -> None:
    reply = locked.delete("/v1/embed", headers=bearer(READER))
    assert reply.status_code == 403
    assert reply.json() == {
        "error": {
            "type": "forbidden",
            "message": "expected an admin key for DELETE, got one that may only read",
        }
    }
    assert reply.headers["www-authenticate"] == 'Bearer realm="polyseme", error="insufficient_scope"'
    assert locked.delete("/v1/embed", headers=bearer(ADMIN)).status_code == 405


def test_no_spelling_of_a_path_needs_less_than_the_route_that_it_leads_to(locked: httpx.Client) -> None:
    """The router's patterns also match before a line feed at the end."""
    for path in ("/v1/tasks/x/fit%0A", "/v1/tasks/x/fi%74", "/v1/tasks/%0A/fit", "/v1/tasks/x%0A/fit%0A"):
        reply = locked.post(path, json={}, headers=bearer(READER))
        assert (reply.status_code, reply.json()["error"]["type"]) == (403, "forbidden"), path
        assert locked.post(path, json={}).status_code == 401


def test_the_document_says_which_key_each_route_wants(locked: httpx.Client) -> None:
    paths = locked.get("/openapi.json", headers=bearer(READER)).json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            url = path.format(name="x", model="fake")
            without, reading = (locked.request(method, url, headers=given) for given in ({}, bearer(READER)))
            assert (without.status_code == 401) == (operation.get("security") != []), path
            assert (reading.status_code == 403) == ("403" in operation["responses"]), path


def test_a_body_is_not_read_before_the_key(locked: httpx.Client) -> None:
    address = (locked.base_url.host, locked.base_url.port or 0)
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")  # and not 100, which asks for the body


def test_every_key_is_compared_in_constant_time(
    locked: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def watched(key: bytes, presented: bytes) -> bool:
        compared.append(key)
        return compare(key, presented)

    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", watched)
    for key in (READER, "no-key-of-the-server"):
        compared.clear()
        locked.get("/openapi.json", headers=bearer(key))
        assert compared == [READER.encode(), OTHER.encode(), ADMIN.encode()]


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("GET", "/livez", Access.OPEN),
        ("HEAD", "/readyz", Access.OPEN),
        ("POST", "/livez", Access.READ),
        ("GET", "/livez/x", Access.READ),
        ("GET", "/metrics", Access.READ),
        ("POST", "/v1/embed", Access.READ),
        ("PUT", "/v1/tasks/x", Access.ADMIN),
        ("DELETE", "/livez", Access.ADMIN),
    ],
)
def test_the_table(method: str, path: str, access: Access) -> None:
    assert needed(method, path) is access


def test_with_an_admin_key_alone_reading_needs_it_too() -> None:
    with serving_runtime(FakeRuntime(), admin_keys=(ADMIN,)) as client:
        assert client.post("/v1/embed", json=BODY).status_code == 401
        assert client.post("/v1/embed", json=BODY, headers=bearer(ADMIN)).status_code == 200
