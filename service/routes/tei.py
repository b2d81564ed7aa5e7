"""TEI's wire format (Hugging Face text-embeddings-inference), for the clients that speak it.

TEI serves one model and its requests name none: with several bundles, these paths serve the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from model.tokenizer import BOUNDARY_ID, Tokenized
from service.body import read_json
from service.engine.backend import Floats
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.engine.sentences import NUM_BOUNDARIES
from service.error_formats import TEI
from service.errors import ENGINE_ERRORS, ErrorType, ServiceError, documented
from service.foreign_texts import Texts, check_dimensions, mean_vectors, reserve_reply, visible_vectors
from service.mixes import average
from service.openapi import json_body
from service.replies import wire
from service.replies.accept import JSON
from service.replies.pooling import normalized
from service.replies.size import JSON_NUMBER_BYTES, tokens_bytes
from service.replies.wire import Pieces
from service.replies.written import written
from service.tei_schemas import (
    TEIEmbedAllRequest,
    TEIEmbedRequest,
    TEIInfo,
    TEIModelType,
    TEIPooling,
    TEISimilarityRequest,
    TEIToken,
    TEITokenizeRequest,
)
from service.version import package_version
from service.work import Work

router = APIRouter(tags=["TEI"])

# TEI's requests name no model.
_ENGINE_ERRORS = [error for error in ENGINE_ERRORS if error is not ErrorType.unknown_model]
_TEXT_ERRORS = [error for error in _ENGINE_ERRORS if error is not ErrorType.engine_failed]
TOKENIZE_ERRORS = documented(*_TEXT_ERRORS, ErrorType.no_softmax, told=TEI)
ERRORS = documented(*_ENGINE_ERRORS, told=TEI)

TOKEN_BYTES = 64
"""What a token of /tokenize has beside its text and span: its id and the names of its fields."""

EXAMPLE = {"inputs": ["The bank lent him money.", "강에서 배를 탔다"]}
SIMILARITY_EXAMPLE = {
    "inputs": {"source_sentence": "The bank lent him money.", "sentences": ["A loan.", "The river bank."]}
}


# The decorator nearest to the function is listed first.
@router.post(
    "/",
    name="tei_root",
    summary="The same as /embed",
    response_model=None,
    responses={200: {"model": list[list[float]]}, **ERRORS},
    openapi_extra=json_body(TEIEmbedRequest, EXAMPLE),
)
@router.post(
    "/embed",
    name="tei_embed",
    summary="Embed texts, as TEI does",
    response_model=None,
    responses={200: {"model": list[list[float]]}, **ERRORS},
    openapi_extra=json_body(TEIEmbedRequest, EXAMPLE),
)
async def embed(request: Request) -> Response:
    """Return one vector for each text: the mean of its tokens, the layers averaged."""
    work = Work.of(request)
    body = await read_json(request, TEIEmbedRequest)
    embedder = _served(request)
    check_dimensions(body.dimensions, embedder)

    def check(tokenized: Sequence[Tokenized]) -> None:
        reserve_reply(request, work, embedder, len(tokenized), JSON_NUMBER_BYTES)

    texts = Texts.of("inputs", body.inputs)
    encoded = await texts.encoded(request, embedder, average(embedder.num_layers), work, check)

    def reply() -> Pieces:
        vectors_BD = mean_vectors(encoded)
        return wire.numbers(normalized(vectors_BD) if body.normalize else vectors_BD)

    return await written(request, work, reply, JSON)


@router.post(
    "/embed_all",
    name="tei_embed_all",
    summary="Embed the tokens of texts, as TEI does",
    response_model=None,
    responses={200: {"model": list[list[list[float]]]}, **ERRORS},
    openapi_extra=json_body(TEIEmbedAllRequest, EXAMPLE),
)
async def embed_all(request: Request) -> Response:
    """Return one vector for each token of each text, the layers averaged.

    The tokens are those that /tokenize lists without special ones: boundaries have no vectors.
    """
    work = Work.of(request)
    body = await read_json(request, TEIEmbedAllRequest)
    embedder = _served(request)

    def check(tokenized: Sequence[Tokenized]) -> None:
        num_vectors = sum(sum(tokens.visible) for tokens in tokenized)
        reserve_reply(request, work, embedder, num_vectors, JSON_NUMBER_BYTES)

    texts = Texts.of("inputs", body.inputs)
    encoded = await texts.encoded(request, embedder, average(embedder.num_layers), work, check)

    def reply() -> Pieces:
        return wire.listed(wire.numbers(visible_vectors(*text)) for text in encoded)

    return await written(request, work, reply, JSON)


@router.post(
    "/tokenize",
    name="tei_tokenize",
    summary="Tokenise texts, as TEI does",
    response_model=None,
    responses={200: {"model": list[list[TEIToken]]}, **TOKENIZE_ERRORS},
    openapi_extra=json_body(TEITokenizeRequest, EXAMPLE),
)
async def tokenize(request: Request) -> Response:
    """Return the tokens of each text. Those of white space alone are left out, as in every reply.

    The words of a model that was imported without its softmax have no ids: 409.
    """
    work = Work.of(request)
    body = await read_json(request, TEITokenizeRequest)
    embedder = _served(request)
    embedder.check_softmax()
    texts = Texts.of("inputs", body.inputs)
    tokenized = await texts.tokenized(request, embedder, work)
    _check_size(request, tokenized)
    work.held.reserve(tokens_bytes(tokenized, TOKEN_BYTES))

    def reply() -> Pieces:
        boundary = embedder.vocabulary[BOUNDARY_ID] if body.add_special_tokens else None
        pairs = zip(texts.texts, tokenized, strict=True)
        lists = ([orjson.dumps(_tokens(text, tokens, boundary))] for text, tokens in pairs)
        return wire.listed(lists)

    return await written(request, work, reply, JSON)


@router.post(
    "/similarity",
    name="tei_similarity",
    summary="Compare a text with others, as TEI does",
    response_model=None,
    responses={200: {"model": list[float]}, **ERRORS},
    openapi_extra=json_body(TEISimilarityRequest, SIMILARITY_EXAMPLE),
)
async def similarity(request: Request) -> Response:
    """Return the cosine between the source sentence's vector and that of each of the others."""
    work = Work.of(request)
    body = await read_json(request, TEISimilarityRequest)
    embedder = _served(request)
    texts = Texts([body.inputs.source_sentence, *body.inputs.sentences], _similarity_place)
    encoded = await texts.encoded(request, embedder, average(embedder.num_layers), work)
    return await written(request, work, lambda: wire.numbers(_cosines(mean_vectors(encoded))), JSON)


@router.get(
    "/info",
    name="tei_info",
    summary="The model and its limits, as TEI tells them",
    responses=documented(ErrorType.internal_error, ErrorType.not_ready, told=TEI),
)
async def info(request: Request) -> TEIInfo:
    """Return which model TEI's paths serve, and how much a request may hold."""
    registry: Registry = request.app.state.registry
    embedder, settings = _served(request), registry.settings
    return TEIInfo(
        model_id=embedder.name,
        model_sha=embedder.sha256,
        model_dtype="float32",
        model_type=TEIModelType(embedding=TEIPooling(pooling="mean")),
        max_concurrent_requests=settings.queue_tokens // (1 + NUM_BOUNDARIES),
        max_input_length=settings.queue_tokens - NUM_BOUNDARIES,
        max_batch_tokens=settings.batch_tokens,
        max_batch_requests=None,
        max_client_batch_size=settings.max_inputs,
        auto_truncate=False,
        tokenization_workers=registry.num_threads,
        version=package_version(),
        sha=None,
        docker_label=None,
    )


def _served(request: Request) -> Embedder:
    registry: Registry = request.app.state.registry
    return registry.embedder(next(iter(registry.names), None))


def _check_size(request: Request, tokenized: Sequence[Tokenized]) -> None:
    """Raise ServiceError when there are more tokens than could be embedded: their lists take much memory."""
    registry: Registry = request.app.state.registry
    most = registry.settings.queue_tokens
    num_tokens = sum(len(tokens) + NUM_BOUNDARIES for tokens in tokenized)
    if num_tokens > most:
        message = f"expected at most {most} tokens in one request, got {num_tokens}"
        raise ServiceError(ErrorType.too_many_tokens, message)


def _tokens(text: str, tokenized: Tokenized, boundary: str | None) -> list[dict[str, Any]]:
    spans = zip(tokenized.ids, tokenized.starts, tokenized.ends, tokenized.visible, strict=True)
    tokens: list[dict[str, Any]] = [
        {"id": id, "text": text[start:end], "special": False, "start": start, "stop": end}
        for id, start, end, visible in spans
        if visible
    ]
    if boundary is None:
        return tokens
    special = {"id": BOUNDARY_ID, "text": boundary, "special": True, "start": None, "stop": None}
    return [special, *tokens, special]


def _similarity_place(i: int | None) -> str:
    if i is None:
        return "inputs"
    return f"inputs.sentences[{i - 1}]" if i else "inputs.source_sentence"


def _cosines(vectors_BD: Floats) -> Floats:
    """Return float32 (B - 1): of the first vector with each of the others; 0 with a vector of zeros."""
    # In float64 because a square of a small float32 is zero.
    wide_BD = vectors_BD.astype(np.float64)
    norms_B = np.linalg.norm(wide_BD, axis=1)
    products = norms_B[0] * norms_B[1:]
    cosines: Floats = (wide_BD[1:] @ wide_BD[0] / np.where(products == 0, 1, products)).astype(np.float32)
    return cosines
