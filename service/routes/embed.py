"""POST /v1/embed: the native endpoint. Tokens, offsets and vectors in one reply, layers mixed as asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from model.tokenizer import Tokenized
from service.body import read_json, show
from service.engine.registry import Registry
from service.errors import ENGINE_ERRORS, ErrorType, ServiceError, documented
from service.inputs import check_inputs, check_spans
from service.mixes import Mix, chosen
from service.openapi import json_body
from service.replies import accept, arrow, npz
from service.replies.accept import JSON, accepted
from service.replies.answers import Heading, Result, answers, mark_name
from service.replies.json_body import json_parts
from service.replies.long_reply import Piece
from service.replies.pooling import check_touching
from service.replies.size import reply_size
from service.replies.written import written
from service.schemas import EmbedReply, EmbedRequest
from service.work import Work, attended

router = APIRouter()

ERRORS = documented(
    *ENGINE_ERRORS,
    ErrorType.unknown_task,
    ErrorType.wrong_model,
    ErrorType.not_acceptable,
)

EXAMPLE = {
    "inputs": ["She sat on the bank of the river.", ["The", "bank", "lent", "him", "money"]],
    "layer": "top",
    "pool": "word",
}

REPLY: dict[str, Any] = {
    "model": EmbedReply,
    "description": "JSON, or what `Accept` prefers.",
    "content": {
        accept.ARROW: {"schema": {"type": "string", "format": "binary", "description": arrow.LAYOUT}},
        accept.NPZ: {"schema": {"type": "string", "format": "binary", "description": npz.LAYOUT}},
    },
}


@router.post(
    "/v1/embed",
    tags=["embed"],
    summary="Embed sentences",
    response_model=None,
    responses={200: REPLY, **ERRORS},
    openapi_extra=json_body(EmbedRequest, EXAMPLE),
)
async def embed(request: Request) -> Response:
    """Return each input's tokens, with their offsets, and their contextual vectors.

    `Accept` chooses the form of the reply: JSON, or for speed an Arrow stream or an .npz file.
    """
    registry: Registry = request.app.state.registry
    work = Work.of(request)
    form = accepted(request.headers)
    body = await read_json(request, EmbedRequest)
    embedder = registry.embedder(body.model)
    check_inputs(body.inputs, registry.settings.max_inputs, registry.settings.max_characters)
    _check_together(body, form)
    choice = await chosen(body, request.app.state.mix_store, embedder.sha256, embedder.num_layers)
    heading = Heading(embedder.name, embedder.dimension, embedder.num_layers, choice)

    def check(tokenized: Sequence[Tokenized]) -> None:
        num_bytes = reply_size(body, form, heading, tokenized, registry.settings.max_reply_bytes)
        work.held.reserve(num_bytes)
        for i, spans in enumerate(body.spans or ()):
            check_touching(spans, tokenized[i], f"spans[{i}]")

    # Several mixes are of one run, which gives every layer.
    mix = choice if isinstance(choice, Mix) else None
    encoded = await attended(request, embedder.encode(body.inputs, mix, request=work, check=check))
    return await written(request, work, lambda: _parts(body, form, heading, encoded), form)


def _check_together(body: EmbedRequest, form: str) -> None:
    """Raise ServiceError when fields contradict each other, or do not fit the inputs."""
    if form != JSON and "encoding" in body.model_fields_set:
        message = f"expected no encoding with Accept: {form}, got {show(body.encoding)}"
        raise ServiceError(ErrorType.invalid_request, message, "encoding")
    if body.spans is None:
        return
    if "pool" in body.model_fields_set:
        message = "expected at most one of pool and spans, got both"
        raise ServiceError(ErrorType.invalid_request, message, "spans")
    check_spans(body.spans, body.inputs)


def _parts(body: EmbedRequest, form: str, heading: Heading, encoded: Sequence[Result]) -> Iterable[Piece]:
    """Return the body of the reply; this runs on a worker thread."""
    marks, told = mark_name(body), answers(body, heading.choice, encoded)
    match form:
        case accept.ARROW:
            return arrow.arrow_parts(heading, marks, told, body.dtype)
        case accept.NPZ:
            return npz.npz_parts(heading, marks, body.inputs, told)
    return json_parts(heading, marks, told, body.encoding)
