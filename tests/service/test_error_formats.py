"""Every error is told as the path's own API tells it: the whole table, and which path speaks which."""

from __future__ import annotations

from typing import get_args

import pytest

from service.error_formats import (
    NATIVE,
    OPENAI,
    OPENAI_CODES,
    TEI,
    TEI_TYPES,
    ErrorFormat,
    Failure,
    TEIErrorType,
    format_of,
)
from service.errors import ErrorType


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("/v1/embed", NATIVE),
        ("/v1/embeddings", OPENAI),
        ("/v1/embeddings/", OPENAI),
        ("/v1/embeddings_of_mine", NATIVE),
        ("/v1/models", OPENAI),
        ("/v1/models/enko:pos", OPENAI),
        ("/", TEI),
        ("/embed", TEI),
        ("/embed_all", TEI),
        ("/tokenize", TEI),
        ("/similarity", TEI),
        ("/info", TEI),
        ("/embed_sparse", NATIVE),
        ("", NATIVE),
    ],
)
def test_the_path_says_whose_words(path: str, format: ErrorFormat) -> None:
    assert format_of(path) is format


def failure(type: ErrorType, where: str | None = None) -> Failure:
    return Failure(type.name, type.status, "m", where)


@pytest.mark.parametrize(
    ("type", "status", "kind", "code"),
    [
        (ErrorType.malformed_body, 400, "invalid_request_error", None),
        (ErrorType.invalid_request, 400, "invalid_request_error", None),
        (ErrorType.unknown_model, 404, "invalid_request_error", "model_not_found"),
        (ErrorType.unknown_task, 404, "invalid_request_error", "model_not_found"),
        (ErrorType.unauthorized, 401, "invalid_request_error", "invalid_api_key"),
        (ErrorType.forbidden, 403, "invalid_request_error", "forbidden"),
        (ErrorType.not_found, 404, "invalid_request_error", "unknown_url"),
        (ErrorType.method_not_allowed, 405, "invalid_request_error", "method_not_supported"),
        (ErrorType.body_timeout, 408, "invalid_request_error", "body_timeout"),
        (ErrorType.body_too_large, 413, "invalid_request_error", "body_too_large"),
        (ErrorType.input_too_long, 413, "invalid_request_error", "input_too_long"),
        (ErrorType.unsupported_media_type, 415, "invalid_request_error", "unsupported_media_type"),
        (ErrorType.queue_full, 429, "tokens", "rate_limit_exceeded"),
        (ErrorType.memory_full, 429, "tokens", "rate_limit_exceeded"),
        (ErrorType.internal_error, 500, "server_error", "internal_error"),
        (ErrorType.engine_failed, 500, "server_error", "engine_failed"),
        (ErrorType.not_ready, 503, "server_error", "not_ready"),
        (ErrorType.deadline_exceeded, 504, "server_error", "deadline_exceeded"),
    ],
)
def test_in_the_words_of_openai(type: ErrorType, status: int, kind: str, code: str | None) -> None:
    assert OPENAI.status(type.name, type.status) == status
    assert OPENAI.body(failure(type, "input[1]")) == {
        "error": {"message": "m", "type": kind, "param": "input[1]", "code": code}
    }
    assert OPENAI.body(failure(type))["error"]["param"] is None


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        (ErrorType.invalid_request, "Validation"),
        (ErrorType.unauthorized, "Validation"),
        (ErrorType.method_not_allowed, "Validation"),
        (ErrorType.too_many_inputs, "Validation"),
        (ErrorType.queue_full, "Overloaded"),
        (ErrorType.memory_full, "Overloaded"),
        (ErrorType.not_ready, "Unhealthy"),
        (ErrorType.engine_failed, "Backend"),
        (ErrorType.internal_error, "Backend"),
        (ErrorType.deadline_exceeded, "Backend"),
    ],
)
def test_in_the_words_of_tei(type: ErrorType, kind: str) -> None:
    assert TEI.body(failure(type)) == {"error": "m", "error_type": kind}
    assert TEI.body(failure(type, "inputs[1]")) == {"error": "inputs[1]: m", "error_type": kind}
    assert TEI.status(type.name, type.status) == type.status
    assert kind in get_args(TEIErrorType)


@pytest.mark.parametrize("type", ErrorType)
@pytest.mark.parametrize("format", [NATIVE, OPENAI, TEI])
def test_every_reply_is_what_the_document_says(type: ErrorType, format: ErrorFormat) -> None:
    for where in (None, "inputs"):
        format.reply.model_validate(format.body(failure(type, where)), strict=True, extra="forbid")


def test_the_tables_name_types_that_there_are() -> None:
    assert {*OPENAI_CODES, *TEI_TYPES, *OPENAI.moved} <= {type.name for type in ErrorType}
