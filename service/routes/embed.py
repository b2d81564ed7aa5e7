"""POST /v1/embed: the native endpoint. Tokens, offsets and vectors in one reply, layers mixed as asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from model.tokenizer import Tokenized
from service import wire
from service.backend import Floats
from service.body import read_json
from service.embedder import Embedder
from service.errors import ErrorType, documented
from service.inputs import check_inputs
from service.mixes import Mix, requested_mix
from service.openapi import json_body
from service.pooling import Encoded, normalized, pool
from service.registry import Registry
from service.schemas import EmbedReply, EmbedRequest

router = APIRouter()

ERRORS = documented(
    ErrorType.malformed_body,
    ErrorType.invalid_request,
    ErrorType.unknown_model,
    ErrorType.unsupported_media_type,
    ErrorType.body_too_large,
    ErrorType.too_many_inputs,
    ErrorType.input_too_long,
    ErrorType.too_many_tokens,
    ErrorType.queue_full,
    ErrorType.engine_failed,
    ErrorType.internal_error,
    ErrorType.not_ready,
)

EXAMPLE = {
    "inputs": ["She sat on the bank of the river.", ["The", "bank", "lent", "him", "money"]],
    "layer": "top",
    "pool": "word",
}


@router.post(
    "/v1/embed",
    tags=["embed"],
    summary="Embed sentences",
    response_model=None,
    responses={200: {"model": EmbedReply}, **ERRORS},
    openapi_extra=json_body(EmbedRequest, EXAMPLE),
)
async def embed(request: Request) -> Response:
    """Return each input's tokens, with their offsets, and their contextual vectors."""
    registry: Registry = request.app.state.registry
    body = await read_json(request, EmbedRequest)
    embedder = registry.embedder(body.model)
    check_inputs(body.inputs, registry.settings.max_inputs, registry.settings.max_characters)
    mix = requested_mix(body.layer, body.mix, embedder.num_layers)
    encoded = await embedder.encode(body.inputs, mix)
    loop = asyncio.get_running_loop()
    content = await loop.run_in_executor(registry.workers, _reply, body, embedder, mix, encoded)
    return Response(content, media_type="application/json")


def _reply(
    body: EmbedRequest, embedder: Embedder, mix: Mix | None, encoded: Sequence[tuple[Tokenized, Floats]]
) -> bytes:
    """Return the body of the reply; this runs on a worker thread."""
    document = {
        "model": embedder.name,
        "dimension": embedder.dimension,
        "layer_weights": mix.weights if mix else None,
        "gamma": mix.gamma if mix else 1.0,
    }
    sentences = (Encoded.of(text, *result) for text, result in zip(body.inputs, encoded, strict=True))
    embeddings = wire.listed(_embedding(body, sentence) for sentence in sentences)
    return b"".join(wire.with_field(document, "embeddings", embeddings))


def _embedding(body: EmbedRequest, sentence: Encoded) -> list[bytes]:
    rows, words = pool(sentence, body.pool)
    if body.normalize:
        rows = normalized(rows)
    document: dict[str, Any] = {"tokens": sentence.tokens, "num_tokens": len(sentence.tokens)}
    if words is not None:
        document["words"] = words
    return wire.with_vectors(document, rows, body.encoding, body.dtype)
