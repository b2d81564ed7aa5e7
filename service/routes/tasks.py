"""GET /v1/tasks, GET/PUT/DELETE /v1/tasks/{name} and POST /v1/tasks/{name}/predict: tasks that are learned.

How they are learned is in task_fits.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from model.tasks.task import Task
from model.tokenizer import Tokenized
from service.body import read_document, read_json, show
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.errors import ErrorType, ServiceError
from service.openapi import json_body
from service.replies.written import written
from service.tasks.documentation import (
    LIST_ERRORS,
    PREDICT_ERRORS,
    PREDICT_EXAMPLE,
    PREDICTS,
    PUT_ERRORS,
    READ_ERRORS,
    one_of,
)
from service.tasks.entries import entry
from service.tasks.examples import checked_items
from service.tasks.learned_tasks import LearnedTasks, mix_of, path_name, uploaded_task, wrong_model
from service.tasks.predictions import predictions_reply, predictions_size
from service.tasks.schemas import Predictions, TaskDocument, TaskEntry, TaskList
from service.work import Work, attended

router = APIRouter(tags=["tasks"])

JSON = "application/json"

UPLOAD_EXAMPLE = {"kind": "classify", "scalars": [0.2, 1.4, -0.3], "gamma": 0.8}


@router.get(
    "/v1/tasks",
    name="tasks",
    summary="Which tasks are there?",
    response_model=None,
    responses={200: {"model": TaskList}, **LIST_ERRORS},
)
async def list_tasks(request: Request) -> Response:
    """Return every task, by name, with the mix that it has learned."""
    summaries = await _tasks(request).summaries()
    return _json({"tasks": [entry(summary) for summary in summaries]})


@router.get(
    "/v1/tasks/{name}",
    name="task",
    summary="Download a task",
    response_model=None,
    responses={200: {"model": TaskDocument}, **READ_ERRORS},
)
async def get_task(request: Request, name: str) -> Response:
    """Return the whole task, as PUT takes it: mix, labels, head and report. 404 until a fit has ended."""
    return Response(await _tasks(request).document(name), media_type=JSON)


@router.put(
    "/v1/tasks/{name}",
    name="put_task",
    summary="Upload a task",
    response_model=None,
    responses={
        200: {"model": TaskEntry, "description": "It replaced one of this name."},
        201: {"model": TaskEntry, "description": "It is new."},
        **PUT_ERRORS,
    },
    openapi_extra=json_body(TaskDocument, UPLOAD_EXAMPLE),
)
async def put_task(request: Request, name: str) -> Response:
    """Keep a task that was learned elsewhere: by another server, by `polyseme fit`, or in your own code.

    A mix alone, `kind` and `scalars` (and `gamma`), is enough to embed with. What is sent must be of a model
    that this server serves.
    """
    registry: Registry = request.app.state.registry
    kept_name = path_name(name)
    document = await read_document(request)
    summary = await _tasks(request).put(uploaded_task(document, kept_name, registry.embedders))
    is_new = summary.created_at == summary.updated_at
    return _json(entry(summary), 201 if is_new else 200)


@router.delete(
    "/v1/tasks/{name}",
    name="delete_task",
    summary="Delete a task",
    response_model=None,
    status_code=204,
    responses=READ_ERRORS,
)
async def delete_task(request: Request, name: str) -> Response:
    """Remove a task; every process stops using it within a second."""
    await _tasks(request).delete(name)
    return Response(status_code=204)


@router.post(
    "/v1/tasks/{name}/predict",
    name="predict",
    summary="Predict with a task",
    response_model=None,
    responses={200: {"model": Predictions}, **PREDICT_ERRORS},
    openapi_extra=one_of(PREDICTS, PREDICT_EXAMPLE),
)
async def predict(request: Request, name: str) -> Response:
    """Return labels and probabilities; the inputs are of the task's kind, as its examples without labels.

    Probabilities are calibrated on examples that were held out; the task's report says how well. A word that
    a `sense` task never saw is not guessed: it gets `known: false` and its vector.
    """
    registry: Registry = request.app.state.registry
    work = Work.of(request)
    task = await _tasks(request).get(name)
    if task.head is None:
        message = f"expected a task with a head, got the mix alone of {show(task.name)}: embed with it"
        raise ServiceError(ErrorType.no_head, message)
    body = await read_json(request, PREDICTS[task.kind])
    embedder = _model_of(task, registry, body.model)
    items = checked_items(body.inputs, registry.settings.max_inputs, registry.settings.max_characters)
    num_rows = sum(item.num_rows for item in items)
    work.held.reserve(predictions_size(task, num_rows, registry.settings.max_reply_bytes))

    def check(tokenized: Sequence[Tokenized]) -> None:
        for i, (item, tokens) in enumerate(zip(items, tokenized, strict=True)):
            item.check_tokens(tokens, f"inputs[{i}]")

    texts = [item.text for item in items]
    # What the whole text is about is read from layer 0, which the mix does not hold apart.
    mix = None if task.reads_texts else mix_of(task)
    encoded = await attended(request, embedder.encode(texts, mix, request=work, check=check))
    return await written(request, work, lambda: [predictions_reply(task, items, encoded)], JSON)


def _model_of(task: Task, registry: Registry, named: str | None) -> Embedder:
    """Return the model that the task was learned on. Raises ServiceError when it is not the one asked for."""
    if named is not None and registry.embedder(named).sha256 != task.model_sha256:
        raise wrong_model(task, "model")
    for embedder in registry.embedders:
        if embedder.sha256 == task.model_sha256:
            return registry.embedder(embedder.name)
    raise wrong_model(task)


def _tasks(request: Request) -> LearnedTasks:
    tasks: LearnedTasks = request.app.state.tasks
    return tasks


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type=JSON)
