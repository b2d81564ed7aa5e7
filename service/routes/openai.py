"""POST /v1/embeddings and GET /v1/models: OpenAI's wire format, for the clients that speak it."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from model.tokenizer import Tokenized
from service.body import read_json
from service.choices import Encoding
from service.engine.backend import Floats
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.error_formats import OPENAI
from service.errors import ENGINE_ERRORS, ErrorType, documented
from service.foreign_texts import Texts, check_dimensions, mean_vectors, reserve_reply
from service.mixes import Mix, MixStore, average, named_mix
from service.openai_schemas import (
    OpenAIEmbeddingsReply,
    OpenAIEmbeddingsRequest,
    OpenAIModel,
    OpenAIModelList,
)
from service.openapi import json_body
from service.replies import wire
from service.replies.accept import JSON
from service.replies.pooling import normalized
from service.replies.size import JSON_NUMBER_BYTES
from service.replies.wire import Pieces
from service.replies.written import written
from service.work import Work

router = APIRouter(tags=["OpenAI"])

ERRORS = documented(*ENGINE_ERRORS, ErrorType.unknown_task, ErrorType.wrong_model, told=OPENAI)

BASE64_VALUE_BYTES = 4 * 4 / 3
"""Of a float32."""

EXAMPLE = {"model": "enko", "input": ["The bank lent him money.", "강에서 배를 탔다"]}


@router.post(
    "/v1/embeddings",
    name="openai_embeddings",
    summary="Embed texts, as OpenAI's API does",
    response_model=None,
    responses={200: {"model": OpenAIEmbeddingsReply}, **ERRORS},
    openapi_extra=json_body(OpenAIEmbeddingsRequest, EXAMPLE),
)
async def embeddings(request: Request) -> Response:
    """Return one vector for each text: the mean of its tokens, the layers mixed as `model` says, scaled to
    length 1."""
    work = Work.of(request)
    body = await read_json(request, OpenAIEmbeddingsRequest)
    embedder, mix = await _model(request, body.model)
    check_dimensions(body.dimensions, embedder)
    texts, encoding = Texts.of("input", body.input), body.encoding_format or "float"
    value_bytes = JSON_NUMBER_BYTES if encoding == "float" else BASE64_VALUE_BYTES

    def check(tokenized: Sequence[Tokenized]) -> None:
        reserve_reply(request, work, embedder, len(tokenized), value_bytes)

    encoded = await texts.encoded(request, embedder, mix, work, check)
    return await written(request, work, lambda: _reply(body.model, encoding, encoded), JSON)


@router.get(
    "/v1/models",
    name="openai_models",
    summary="List the models, as OpenAI's API does",
    responses=documented(ErrorType.internal_error, told=OPENAI),
)
async def models(request: Request) -> OpenAIModelList:
    """Return every bundle that is served, each with its layers averaged; tasks are listed elsewhere."""
    registry: Registry = request.app.state.registry
    return OpenAIModelList(object="list", data=[_described(registry, name) for name in registry.names])


@router.get(
    "/v1/models/{model:path}",
    name="openai_model",
    summary="Describe one model, as OpenAI's API does",
    responses=documented(
        ErrorType.unknown_model,
        ErrorType.unknown_task,
        ErrorType.wrong_model,
        ErrorType.internal_error,
        ErrorType.not_ready,
        told=OPENAI,
    ),
)
async def model(request: Request, model: str) -> OpenAIModel:
    """Return the model when /v1/embeddings would take it: `NAME` or `NAME:TASK`."""
    await _model(request, model)
    return _described(request.app.state.registry, model)


async def _model(request: Request, model: str) -> tuple[Embedder, Mix]:
    """Return what `NAME` or `NAME:TASK` stands for. Raises ServiceError."""
    registry: Registry = request.app.state.registry
    store: MixStore = request.app.state.mix_store
    name, task = _parts(model, registry.names)
    embedder = registry.embedder(name)
    if task is None:
        return embedder, average(embedder.num_layers)
    return embedder, await named_mix(store, embedder.sha256, task, "model")


def _parts(model: str, names: Sequence[str]) -> tuple[str, str | None]:
    """Return a bundle's name, which may have colons of its own, and the task after it."""
    if model in names:
        return model, None
    name = max((name for name in names if model.startswith(f"{name}:")), key=len, default=None)
    return (model, None) if name is None else (name, model.removeprefix(f"{name}:"))


def _described(registry: Registry, model: str) -> OpenAIModel:
    return OpenAIModel(id=model, object="model", created=registry.opened_s, owned_by="polyseme")


def _reply(model: str, encoding: Encoding, encoded: Sequence[tuple[Tokenized, Floats]]) -> Pieces:
    """Return the body of the reply; this runs on a worker thread."""
    num_tokens = sum(sum(tokenized.visible) for tokenized, _ in encoded)
    document = {
        "object": "list",
        "model": model,
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
    vectors_BD = normalized(mean_vectors(encoded)).astype("<f4", copy=False)
    data = wire.listed(_embedding(i, vector_D, encoding) for i, vector_D in enumerate(vectors_BD))
    return wire.with_field(document, "data", data)


def _embedding(index: int, vector_D: Floats, encoding: Encoding) -> list[bytes]:
    value = wire.numbers(vector_D) if encoding == "float" else wire.base64(vector_D)
    return wire.with_field({"object": "embedding", "index": index}, "embedding", value)
