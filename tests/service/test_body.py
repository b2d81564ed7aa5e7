"""Bodies that are wrong: what came, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest
from pydantic_core import ErrorDetails

import service.body
from service.body import parse_json, show
from service.errors import ErrorType, ServiceError
from service.schemas import EmbedRequest

GOOD = b'{"inputs": ["a"]}'
LAYER = "'top', 'average' or 'all' or a whole number"
POOL = "'token', 'word', 'sentence', 'sentence_max', 'sentence_first' or 'sentence_last'"


def error_of(body: bytes) -> tuple[str, str, str | None]:
    with pytest.raises(ServiceError) as caught:
        parse_json(body, EmbedRequest)
    return caught.value.type.name, caught.value.message, caught.value.where


@pytest.mark.parametrize(
    ("body", "came"),
    [
        (b"", "expecting value at line 1 column 1"),
        (b'{"inputs": ["a"', "expecting ',' delimiter at line 1 column 16"),
        (b"{'inputs': []}", "expecting property name enclosed in double quotes at line 1 column 2"),
        (b'{"inputs":\n ["a\nb"]}', "invalid control character at line 2 column 5"),
    ],
)
def test_a_body_that_is_no_json(body: bytes, came: str) -> None:
    assert error_of(body) == ("malformed_body", f"expected JSON, but: {came}", None)


@pytest.mark.parametrize(
    ("body", "offset"), [(b'{"inputs": ["\xff"]}', 13), ('{"inputs": ["배"]}'.encode("utf-16"), 0)]
)
def test_a_body_that_is_no_utf_8(body: bytes, offset: int) -> None:
    message = f"expected UTF-8, got byte 0xff at offset {offset}"
    assert error_of(body) == ("malformed_body", message, None)


@pytest.mark.parametrize("body", [b'{"inputs": ' + b"[" * 100_000, b'{"layer": ' + b"9" * 5000 + b"}"])
def test_a_body_that_python_cannot_read(body: bytes) -> None:
    message = "expected JSON, got a number too long or lists too deep to read"
    assert error_of(body) == ("malformed_body", message, None)


@pytest.mark.parametrize(
    ("body", "message", "where"),
    [
        (b"[]", "expected an object, got a list of 0", None),
        (b"null", "expected an object, got null", None),
        (b"{}", "expected this field, got none", "inputs"),
        (b'{"inputs": []}', "expected a list of at least 1, got a list of 0", "inputs"),
        (b'{"inputs": "a"}', 'expected a list, got the string "a"', "inputs"),
        (b'{"inputs": {"text": "a"}}', "expected a list, got an object", "inputs"),
        (b'{"inputs": ["a", 5]}', "expected a string or a list, got the number 5", "inputs[1]"),
        (b'{"inputs": [{"text": "a"}]}', "expected a string or a list, got an object", "inputs[0]"),
        (b'{"inputs": ["a", ["b", null]]}', "expected a string, got null", "inputs[1][1]"),
        (b'{"inputs": [["b", ["c"]]]}', "expected a string, got a list of 1", "inputs[0][1]"),
    ],
)
def test_inputs_that_are_none(body: bytes, message: str, where: str | None) -> None:
    assert error_of(body) == ("invalid_request", message, where)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (rb'{"inputs": ["\ud800"]}', "inputs[0]"),
        (rb'{"inputs": ["a", ["b", "\udfffb"]]}', "inputs[1][1]"),
        (rb'{"inputs": ["a"], "\ud800": 1}', None),
        (rb'{"inputs": ["a"], "encoding": "\ud800"}', "encoding"),
    ],
)
def test_half_a_character(body: bytes, where: str | None) -> None:
    message = "expected text, got a lone surrogate, which is half a character"
    assert error_of(body) == ("invalid_request", message, where)


@pytest.mark.parametrize(
    ("field", "expected", "came", "where"),
    [
        ('"input": "b"', "no such field", " its name is unknown", "input"),
        ('"Task": "pos"', "no such field", " its name is unknown", "Task"),
        ('"mix": {"gama": 1}', "no such field", " its name is unknown", "mix.gama"),
        ('"mix": [1]', "an object", "a list of 1", "mix"),
        ('"mix": {"weights": [0, "1", 0]}', "a number", 'the string "1"', "mix.weights[1]"),
        ('"mix": {"weights": [0, NaN, 0]}', "a finite number", "the number NaN", "mix.weights[1]"),
        ('"mix": {"scalars": [1e999]}', "a finite number", "the number Infinity", "mix.scalars[0]"),
        ('"mix": {"gamma": -2e6}', "a number of at least -1000000", "the number -2000000.0", "mix.gamma"),
        ('"layer": "middle"', LAYER, 'the string "middle"', "layer"),
        ('"layer": 1.0', LAYER, "the number 1.0", "layer"),
        ('"layer": true', LAYER, "true", "layer"),
        ('"normalize": 1', "true or false", "the number 1", "normalize"),
        ('"encoding": "hex"', "'float' or 'base64'", 'the string "hex"', "encoding"),
        ('"dtype": "int8"', "'float32' or 'float16'", 'the string "int8"', "dtype"),
        ('"pool": null', POOL, "null", "pool"),
        ('"model": 1', "a string", "the number 1", "model"),
    ],
)
def test_fields_that_are_wrong(field: str, expected: str, came: str, where: str) -> None:
    joint = ":" if expected == "no such field" else ", got "
    body = b'{"inputs": ["a"], ' + field.encode() + b"}"
    assert error_of(body) == ("invalid_request", f"expected {expected}{joint}{came}", where)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"inputs": [' + b"1," * 100_000 + b"1]}", "expected a string or a list, got the number 1"),
        (b'{"inputs": [[' + b"1," * 100_000 + b"1]]}", "expected a string, got the number 1"),
        (
            b"{" + b",".join(b'"%x": 0' % i for i in range(20_000)) + b"}",
            "expected a request as /docs describes it, got one with 20001 mistakes",
        ),
    ],
)
def test_many_mistakes_are_refused_at_the_cost_of_one(
    body: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told apart by the number of problems that are looked at, not by a clock."""
    looked_at: list[int] = []

    def watched(problems: Sequence[ErrorDetails], document: object) -> ServiceError:
        looked_at.append(len(problems))
        return invalid(problems, document)

    invalid = service.body._invalid
    monkeypatch.setattr(service.body, "_invalid", watched)
    assert error_of(body)[:2] == ("invalid_request", message)
    assert sum(looked_at) < 10


def test_a_good_body_is_taken_as_it_is() -> None:
    body = '{"inputs": ["배\\ud83d\\ude00\\u0000", ["a"]], "layer": 2, "mix": null}'.encode()
    request = parse_json(body, EmbedRequest)
    assert request.inputs == ["배\N{GRINNING FACE}\0", ["a"]]
    assert (request.layer, request.mix, request.pool) == (2, None, "token")


def test_an_error_that_repeats_half_a_character_can_be_sent() -> None:
    reply = ServiceError(ErrorType.invalid_request, "got \ud800", "\udfff").response()
    assert json.loads(bytes(reply.body))["error"] == {
        "type": "invalid_request",
        "message": "got \\ud800",
        "where": "\\udfff",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-3, "the number -3"),
        (0.1, "the number 0.1"),
        (10**100, "the number 1" + "0" * 39),
        ("배", 'the string "배"'),
        ("x" * 41, "a string of 41 characters"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object"),
    ],
)
def test_what_came_is_shown_in_few_words(value: object, shown: str) -> None:
    assert show(value) == shown


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "expected the header Content-Type: application/json, got none"),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            "expected the header Content-Type: application/json, got application/x-www-form-urlencoded",
        ),
        ({**JSON, "Content-Encoding": "gzip"}, "expected a body without Content-Encoding, got gzip"),
        (
            {**JSON, "Content-Encoding": "b" * 999},
            f"expected a body without Content-Encoding, got {'b' * 40}",
        ),
        (
            {"Content-Type": "a" * 999},
            f"expected the header Content-Type: application/json, got {'a' * 40}",
        ),
    ],
)
def test_a_body_of_another_kind(client: httpx.Client, headers: dict[str, str], message: str) -> None:
    reply = client.post("/v1/embed", content=GOOD, headers=headers)
    assert reply.status_code == 415
    assert reply.json() == {"error": {"type": "unsupported_media_type", "message": message}}


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    """As nearly every parser has it (RFC 8259, section 4); also when the first is wrong."""
    assert parse_json(b'{"inputs": 5, "inputs": ["a"], "inputs": ["b"]}', EmbedRequest).inputs == ["b"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_ways_to_say_json(client: httpx.Client, media_type: str) -> None:
    reply = client.post("/v1/embed", content=GOOD, headers={"Content-Type": media_type})
    assert reply.status_code == 200
