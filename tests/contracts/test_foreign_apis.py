"""What the document says of OpenAI's and TEI's paths is what they answer, and its examples work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from service.app import create_app
from service.error_formats import format_of
from service.openai_schemas import OpenAIEmbeddingsReply, OpenAIModel, OpenAIModelList
from service.tei_schemas import TEIInfo, TEIToken
from tests.contracts.openapi import GOLDEN
from tests.service.conftest import fake_settings, serving
from tests.service.fake_backend import open_fake

REPLIES: dict[str, Any] = {
    "/v1/embeddings": OpenAIEmbeddingsReply,
    "/": list[list[float]],
    "/embed": list[list[float]],
    "/embed_all": list[list[list[float]]],
    "/tokenize": list[list[TEIToken]],
    "/similarity": list[float],
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(create_app(fake_settings(bundle=(Path("enko"),)), open_fake)) as client:
        yield client


@pytest.mark.parametrize(("path", "reply"), REPLIES.items())
def test_the_example_of_the_document_gives_the_reply_of_the_document(
    client: httpx.Client, path: str, reply: Any
) -> None:
    body = json.loads(GOLDEN.read_text(encoding="utf-8"))["paths"][path]["post"]["requestBody"]
    answer = client.post(path, json=body["content"]["application/json"]["example"])
    assert answer.status_code == 200
    TypeAdapter(reply).validate_json(answer.content, strict=True, extra="forbid")


@pytest.mark.parametrize(
    ("path", "reply"),
    [("/v1/models", OpenAIModelList), ("/v1/models/enko", OpenAIModel), ("/info", TEIInfo)],
)
def test_what_is_read_is_what_the_document_says(client: httpx.Client, path: str, reply: Any) -> None:
    TypeAdapter(reply).validate_json(client.get(path).content, strict=True, extra="forbid")


@pytest.mark.parametrize("path", REPLIES)
def test_error_replies_are_what_the_document_says(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={})
    documented = json.loads(GOLDEN.read_text(encoding="utf-8"))["paths"][path]["post"]["responses"]
    assert str(answer.status_code) in documented
    format_of(path).reply.model_validate_json(answer.content, strict=True, extra="forbid")
