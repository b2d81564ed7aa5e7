"""The interface does not change unnoticed, and the document tells the truth about it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.error_formats import format_of
from service.errors import ErrorType
from service.mixes import Mix
from service.replies.accept import FORMS
from service.schemas import EmbedReply, ErrorReply
from tests.contracts.openapi import GOLDEN, present_document
from tests.service.conftest import fake_settings, serving
from tests.service.fake_backend import open_fake
from tests.service.given_mixes import GivenMixes


def golden() -> dict[str, Any]:
    document = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def test_the_document_is_the_agreed_one() -> None:
    renew = "a wanted change? `python -m tests.contracts.openapi` renews the golden file"
    assert present_document() == GOLDEN.read_text(encoding="utf-8"), renew


def test_every_reference_leads_somewhere() -> None:
    document = golden()
    names = set(document["components"]["schemas"])
    references = {part.partition('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= names
    assert names - references == set(), "schemas that nothing uses"


def test_errors_are_documented_with_the_shape_and_status_of_their_path() -> None:
    for path, operations in golden()["paths"].items():
        told = format_of(path)
        types = {type.name: str(told.status(type.name, type.status)) for type in ErrorType}
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    continue
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": f"#/components/schemas/{told.reply.__name__}"}, path
                named = response["description"].split("`")[1::2]
                assert {types[name] for name in named if name in types} == {status}


@pytest.fixture(scope="module")
def client() -> Any:
    store = GivenMixes("0" * 64, {"sense": Mix((0.0, 0.0, 1.0))})
    with serving(create_app(fake_settings(), open_fake, store)) as client:
        yield client


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layer": "all"},
        {"pool": "word"},
        {"encoding": "base64"},
        {"layer": "all", "pool": "sentence"},
        {"task": "sense"},
        {"tasks": ["sense"]},
        {"tasks": ["sense"], "encoding": "base64"},
        {"inputs": ["a b"], "spans": [[[0, 1]]]},
    ],
)
def test_replies_are_what_the_document_says(client: httpx.Client, fields: dict[str, Any]) -> None:
    reply = client.post("/v1/embed", json={"inputs": ["a b", ["c", "d"]], **fields})
    assert reply.status_code == 200, reply.text
    EmbedReply.model_validate_json(reply.content, strict=True, extra="forbid")


def test_every_form_of_a_reply_is_in_the_document() -> None:
    reply = golden()["paths"]["/v1/embed"]["post"]["responses"]["200"]
    assert list(reply["content"]) == list(FORMS)


def test_error_replies_are_what_the_document_says(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={})
    ErrorReply.model_validate_json(reply.content, strict=True, extra="forbid")


def test_the_example_of_the_document_works(client: httpx.Client) -> None:
    body = golden()["paths"]["/v1/embed"]["post"]["requestBody"]
    example = body["content"]["application/json"]["example"]
    assert client.post("/v1/embed", json=example).status_code == 200
