"""One table feeds the replies and the document; no stack trace ever leaves, to a client or into the log."""

from __future__ import annotations

import json
import logging
import re

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from service.app import create_app
from service.errors import ErrorType, ServiceError, documented, outline
from tests.service.conftest import fake_settings, serving
from tests.service.fake_backend import open_fake


def test_an_error_and_its_reply() -> None:
    reply = ServiceError(ErrorType.queue_full, "m", "inputs[1]", {"Retry-After": "3"}).response()
    assert json.loads(bytes(reply.body)) == {
        "error": {"type": "queue_full", "message": "m", "where": "inputs[1]"}
    }
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")
    assert json.loads(bytes(ServiceError(ErrorType.not_ready, "m").response().body)) == {
        "error": {"type": "not_ready", "message": "m"}
    }


@pytest.mark.parametrize("type", ErrorType)
def test_every_type_is_an_error_with_a_meaning(type: ErrorType) -> None:
    assert 400 <= type.status < 600
    assert type.meaning


def test_types_of_one_status_are_documented_together() -> None:
    responses = documented(ErrorType.not_ready, ErrorType.too_many_inputs, ErrorType.input_too_long)
    assert list(responses) == [413, 503]
    assert responses[413]["description"] == (
        "`too_many_inputs`: the request has more inputs than the server takes.\n\n"
        "`input_too_long`: an input has more characters than the server takes; nothing is ever cut."
    )


def test_an_outline_names_class_and_place_only() -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("somebody's text")
    assert re.fullmatch(r"KeyError at test_errors\.py:\d+", outline(caught.value))
    assert outline(ValueError("somebody's text")) == "ValueError"


@pytest.fixture(scope="module")
def broken_client() -> object:
    """A client of a server with routes that fail as no route should."""
    app: FastAPI = create_app(fake_settings(), open_fake)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("somebody's text")

    @app.get("/fails-halfway")
    async def fails_halfway() -> StreamingResponse:
        async def parts() -> object:
            yield b"begun"
            raise RuntimeError("somebody's text")

        return StreamingResponse(parts())  # type: ignore[arg-type]

    with serving(app) as client:
        yield client


def test_a_mistake_of_ours_is_a_plain_500(
    broken_client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        reply = broken_client.get("/fails")
    assert reply.status_code == 500
    assert reply.json() == {
        "error": {"type": "internal_error", "message": "the server made a mistake; its log says where"}
    }
    assert "internal error: RuntimeError at test_errors.py:" in caplog.text
    assert "somebody's text" not in caplog.text
    assert "Traceback" not in caplog.text
    assert broken_client.get("/livez").status_code == 200


def test_a_mistake_in_the_middle_of_a_reply_ends_it(
    broken_client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(httpx.RemoteProtocolError):
        broken_client.get("/fails-halfway")
    assert "somebody's text" not in caplog.text
    assert "Traceback" not in caplog.text
    assert broken_client.get("/livez").status_code == 200


def test_an_unknown_path(client: httpx.Client) -> None:
    reply = client.get("/v1/nothing?q=1")
    assert reply.status_code == 404
    assert reply.json() == {
        "error": {"type": "not_found", "message": "expected a path that /docs lists, got GET /v1/nothing"}
    }


def test_a_long_path_is_not_repeated(client: httpx.Client) -> None:
    message = "expected a path that /docs lists, got GET a path of 5001 characters"
    assert client.get("/" + "a" * 5000).json()["error"]["message"] == message
    assert client.get("/" + "a" * 199).json()["error"]["message"].endswith("GET /" + "a" * 199)


def test_a_wrong_method(client: httpx.Client) -> None:
    reply = client.get("/v1/embed")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json() == {
        "error": {
            "type": "method_not_allowed",
            "message": "expected the method POST, got GET /v1/embed",
        }
    }


@pytest.mark.parametrize("path", ["/v1/models/", "/readyz/", "/docs/"])
def test_a_slash_too_many_is_an_unknown_path(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/json")
