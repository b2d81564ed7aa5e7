"""In whose words an error is told: ours, OpenAI's or TEI's, as the path of the request says.

One place, so that a wrong path, a missing key or a full queue on /v1/embeddings reads as OpenAI's own would,
whatever part of the server refused. What an error is, and its status, is the table in errors.py; this module
stands below it and knows its types by their names.

Sources: OpenAI's API reference ("Error codes") and the replies of its server; for TEI (Hugging Face
text-embeddings-inference) its OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from service.schemas import ErrorReply

OPENAI_PATHS = ("/v1/embeddings", "/v1/models")
"""And what is below them."""

TEI_PATHS = ("/", "/embed", "/embed_all", "/tokenize", "/similarity", "/info")

TEIErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer"]


class OpenAIErrorDetail(BaseModel):
    """What went wrong, in OpenAI's terms."""

    message: str
    type: str = Field(
        description="`invalid_request_error`, `server_error`, or `tokens` when the queue or memory is full."
    )
    param: str | None = Field(description="The place in the request, as in `input[2]`; null for none.")
    code: str | None = Field(
        description="OpenAI's code where it has one, else the name of the error in this server; null for a "
        "request that is wrong in itself."
    )


class OpenAIErrorReply(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorDetail


class TEIErrorReply(BaseModel):
    """An error as TEI's clients read it."""

    error: str
    error_type: TEIErrorType


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, before it is put into words."""

    type: str  # a name in the table of errors.py
    status: int  # of that type
    message: str
    where: str | None


@dataclass(frozen=True)
class ErrorFormat:
    """How one API tells an error."""

    reply: type[BaseModel]  # for the OpenAPI document
    body: Callable[[Failure], dict[str, Any]]
    moved: Mapping[str, int]  # the types whose status is another one here

    def status(self, type: str, own: int) -> int:
        """Return the status of a type of error, whose status in the table is `own`."""
        return self.moved.get(type, own)


def format_of(path: str) -> ErrorFormat:
    """Return the format of the errors on a path, also one that does not exist."""
    if path in TEI_PATHS:
        return TEI
    if any(path == known or path.startswith(f"{known}/") for known in OPENAI_PATHS):
        return OPENAI
    return NATIVE


def _native(failure: Failure) -> dict[str, Any]:
    detail = {"type": failure.type, "message": failure.message}
    if failure.where is not None:
        detail["where"] = failure.where
    return {"error": detail}


# A task is part of what OpenAI's clients call the model, so that one of them is as unknown as the other.
OPENAI_CODES: dict[str, str | None] = {
    "malformed_body": None,
    "invalid_request": None,
    "unknown_model": "model_not_found",
    "unknown_task": "model_not_found",
    "unauthorized": "invalid_api_key",
    "queue_full": "rate_limit_exceeded",
    "memory_full": "rate_limit_exceeded",
    "not_found": "unknown_url",
    "method_not_allowed": "method_not_supported",
}


def _openai(failure: Failure) -> dict[str, Any]:
    if failure.type in ("queue_full", "memory_full"):
        kind = "tokens"  # which of its limits was met: OpenAI's are in requests and in tokens
    else:
        kind = "server_error" if failure.status >= 500 else "invalid_request_error"
    code = OPENAI_CODES.get(failure.type, failure.type)
    return {"error": {"message": failure.message, "type": kind, "param": failure.where, "code": code}}


# TEI's own list ends here, and a typed client knows no other: what it has no word for is "Validation" when
# the client can mend it, and "Backend" when it cannot.
TEI_TYPES: dict[str, TEIErrorType] = {
    "queue_full": "Overloaded",
    "memory_full": "Overloaded",
    "not_ready": "Unhealthy",
}


def _tei(failure: Failure) -> dict[str, Any]:
    message = failure.message if failure.where is None else f"{failure.where}: {failure.message}"
    kind = TEI_TYPES.get(failure.type, "Backend" if failure.status >= 500 else "Validation")
    return {"error": message, "error_type": kind}


NATIVE = ErrorFormat(ErrorReply, _native, {})
OPENAI = ErrorFormat(
    OpenAIErrorReply,
    _openai,
    {"malformed_body": 400, "invalid_request": 400, "unknown_model": 404, "unknown_task": 404},
)
TEI = ErrorFormat(TEIErrorReply, _tei, {})
